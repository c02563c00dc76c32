// VeRA (Kopiczko et al. 2024): y = W x + b ∘ (B (d ∘ (A dropout(x)))) with one pair of random, frozen
// matrices for all modules, and vectors b and d of each. Names and files are those of PEFT's
// `VeraConfig`; the matrices follow from a seed, so a file may leave them out.

import { z } from "zod";
import { torchGenerator, torchUniform } from "../../runtime/torch-random.ts";
import { add, linear, multiply, slice, type Tensor } from "../../tensor/index.ts";
import {
  adaptedModuleKeys,
  adaptedModules,
  BIAS_MEANING,
  peftPath,
  shownTargets,
} from "../adapted-modules.ts";
import type {
  BoundMethod,
  MethodDefinition,
  MethodScope,
  ModelDescription,
  ParameterSpec,
  SavedAdapter,
} from "../method.ts";
import { completeOptions, count } from "../option-schema.ts";
import { addProduct } from "../parts/merge-weights.ts";
import { fromPeftConfig, PEFT_MODULE_KEYS, type PeftLayout, toPeftConfig } from "../peft-format.ts";
import type { LinearModule } from "../targets.ts";

const veraSchema = z.strictObject({
  name: z
    .literal("vera")
    .describe("Vectors between random matrices that all layers share (Kopiczko et al. 2024)."),
  rank: count
    .default(256)
    .describe("Rank of the shared matrices; each layer trains a vector of it."),
  ...adaptedModuleKeys,
  dropout: z.number().min(0).lt(1).default(0).describe("Dropout in front of the shared matrices."),
  dInitial: z.number().default(0.1).describe("Where the inner vector starts; the outer one at 0."),
  projectionKey: z
    .int()
    .min(0)
    .lt(2 ** 32)
    .default(0)
    .describe("Seed of the shared matrices."),
  saveProjection: z
    .boolean()
    .default(true)
    .describe("Whether the file holds the shared matrices, or the seed alone."),
  bias: z.enum(["none", "all", "vera_only"]).default("none").describe(BIAS_MEANING),
});

export type VeraOptions = z.input<typeof veraSchema>;

const layout: PeftLayout = {
  type: "VERA",
  keys: {
    targets: PEFT_MODULE_KEYS.targets,
    layersToTransform: PEFT_MODULE_KEYS.layersToTransform,
    modulesToSave: PEFT_MODULE_KEYS.modulesToSave,
    rank: "r",
    dropout: "vera_dropout",
    dInitial: "d_initial",
    projectionKey: "projection_prng_key",
    saveProjection: "save_projection",
    bias: "bias",
  },
  unused: { fan_in_fan_out: false, init_weights: true, layers_pattern: null },
};

interface AdaptedModule extends LinearModule {
  readonly b: ParameterSpec;
  readonly d: ParameterSpec;
}

/** @throws TunesmithError (config) for targets that the model does not have */
function bindVera(given: VeraOptions, model: ModelDescription): BoundMethod {
  const options = completeOptions(veraSchema, given);
  const { rank, dropout } = options;
  const { modules, replaces } = adaptedModules(model, options);
  const shared = projections(rank, options.projectionKey, modules);
  const adapted = new Map<string, AdaptedModule>();
  for (const module of modules) {
    const { path, outputSize } = module;
    const b: ParameterSpec = {
      key: `${peftPath(path)}.vera_lambda_b`,
      shape: [outputSize],
      initial: async () => new Float32Array(outputSize),
    };
    const d: ParameterSpec = {
      key: `${peftPath(path)}.vera_lambda_d`,
      shape: [rank],
      initial: async () => new Float32Array(rank).fill(options.dInitial),
    };
    adapted.set(path, { ...module, b, d });
  }
  const vectors = [...adapted.values()].flatMap(({ b, d }) => [b, d]);
  const saved = [...vectors, ...replaces.values()];

  // Modules that read the same states, as queries, keys and values do, share their product with A.
  const low = new WeakMap<Tensor, Tensor>();
  const project = (x: Tensor, scope: MethodScope): Tensor => {
    const known = low.get(x);
    if (known) return known;
    const product = linear(x, slice(scope.parameter(shared.a), 1, 0, x.shape[1]!));
    low.set(x, product);
    return product;
  };

  return {
    name: "vera",
    adapted: [...adapted.keys()],
    parameters: [...saved, shared.a, shared.b],
    replaces,
    linear(path, x, base, scope) {
      const module = adapted.get(path);
      if (!module) return base(x);
      const inner = multiply(
        project(scope.dropout(x, dropout, path), scope),
        scope.parameter(module.d),
      );
      const columns = slice(scope.parameter(shared.b), 0, 0, module.outputSize);
      return add(multiply(linear(inner, columns), scope.parameter(module.b)), base(x));
    },
    mergeInto(weight, data, values) {
      const module = adapted.get(weight.replace(/\.weight$/, ""));
      if (!module || !weight.endsWith(".weight")) return;
      const [b, d, columns] = [values(module.b), values(module.d), values(shared.b)];
      addProduct(
        data,
        { ...module, rank },
        (out, r) => b[out]! * columns[out * rank + r]! * d[r]!,
        values(shared.a),
        shared.a.shape[1]!,
      );
    },
    saved: {
      config: toPeftConfig(layout, options, model, modules),
      ...(!options.saveProjection && withoutProjections(saved, shared)),
    },
  };
}

interface Projections {
  /** [rank, widest input] */
  readonly a: SharedMatrix;
  /** [widest output, rank] */
  readonly b: SharedMatrix;
}

type SharedMatrix = ParameterSpec & { readonly draw: () => Float32Array };

/** PEFT's matrices: Kaiming-uniform (He et al. 2015), A drawn first and B after it. */
function projections(rank: number, seed: number, modules: readonly LinearModule[]): Projections {
  const widest = Math.max(...modules.map(({ inputSize }) => inputSize));
  const tallest = Math.max(...modules.map(({ outputSize }) => outputSize));
  const bound = (fanIn: number) => Math.sqrt(3) * (Math.sqrt(2) / Math.sqrt(fanIn));
  const matrix = (name: string, shape: [number, number], skipped: number): SharedMatrix => {
    const draw = () => {
      const generator = torchGenerator(seed);
      for (let i = 0; i < skipped; i++) generator();
      const limit = bound(shape[1]);
      return torchUniform(generator, shape[0] * shape[1], -limit, limit);
    };
    return { key: `base_model.${name}`, shape, frozen: true, draw, initial: async () => draw() };
  };
  return {
    a: matrix("vera_A", [rank, widest], 0),
    b: matrix("vera_B", [tallest, rank], rank * widest),
  };
}

/** A file without the shared matrices, which are drawn again when it is read. */
function withoutProjections(
  saved: readonly ParameterSpec[],
  { a, b }: Projections,
): Pick<SavedAdapter, "tensors" | "read"> {
  return {
    tensors: (values) =>
      new Map(saved.map((spec) => [spec.key, { shape: spec.shape, data: values(spec) }])),
    read: (tensors) =>
      new Map([
        ...[a, b].map(({ key, shape, draw }) => [key, { shape, data: draw() }] as const),
        ...tensors,
      ]),
  };
}

export const vera = {
  schema: veraSchema,
  learningRate: 5e-3,
  describe: ({ rank = 256, targets }) => `VeRA, rank ${rank}, on ${shownTargets(targets)}`,
  bind: bindVera,
  peft: {
    type: layout.type,
    options: (config, folder) => fromPeftConfig(veraSchema, layout, config, folder),
  },
} satisfies MethodDefinition<VeraOptions>;
