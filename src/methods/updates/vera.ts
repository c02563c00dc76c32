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
import { boundUpdate, type ModuleUpdate } from "../bound-update.ts";
import type {
  BoundMethod,
  MethodDefinition,
  MethodScope,
  ModelDescription,
  ParameterSpec,
  SavedAdapter,
} from "../method.ts";
import { completeOptions, count } from "../option-schema.ts";
import { filledSpec, zeroSpec } from "../parts/initial-values.ts";
import { addLowRank } from "../parts/merge-weights.ts";
import { PEFT_MODULE_KEYS, type PeftLayout, peftKind, toPeftConfig } from "../peft-format.ts";
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

/** @throws TunesmithError (config) for targets that the model does not have */
function bindVera(given: VeraOptions, model: ModelDescription): BoundMethod {
  const options = completeOptions(veraSchema, given);
  const adapted = adaptedModules(model, options);
  const shared = projections(options.rank, options.projectionKey, adapted.modules);
  const project = projectOnce(shared);
  const config = toPeftConfig(layout, options, model, adapted.modules);
  const update = (module: LinearModule) => vectorUpdate(options, module, shared, project);
  const bound = boundUpdate("vera", adapted, update, { config });
  if (options.saveProjection) return bound;
  const trained = bound.parameters.filter(({ frozen }) => !frozen);
  return { ...bound, saved: { config, ...withoutProjections(trained, shared) } };
}

function vectorUpdate(
  { rank, dropout, dInitial }: z.output<typeof veraSchema>,
  module: LinearModule,
  shared: Projections,
  project: Project,
): ModuleUpdate {
  const { path, outputSize } = module;
  const b = zeroSpec(`${peftPath(path)}.vera_lambda_b`, [outputSize]);
  const d = filledSpec(`${peftPath(path)}.vera_lambda_d`, [rank], dInitial);
  return {
    parameters: [b, d, shared.a, shared.b],
    apply(x, base, scope) {
      const low = project(scope.dropout(x, dropout, path), scope);
      const columns = slice(scope.parameter(shared.b), 0, 0, outputSize);
      const added = linear(multiply(low, scope.parameter(d)), columns);
      return add(multiply(added, scope.parameter(b)), base(x));
    },
    mergeWeight(weight, values) {
      const [outer, inner, columns] = [values(b), values(d), values(shared.b)];
      addLowRank(
        weight,
        { ...module, rank },
        (out, r) => outer[out]! * columns[out * rank + r]! * inner[r]!,
        values(shared.a),
        { width: shared.a.shape[1]! },
      );
    },
  };
}

type Project = (x: Tensor, scope: MethodScope) => Tensor;

/** A x: modules that read the same states, as queries, keys and values do, share this product. */
function projectOnce({ a }: Projections): Project {
  const low = new WeakMap<Tensor, Tensor>();
  return (x, scope) => {
    const known = low.get(x);
    if (known) return known;
    const product = linear(x, slice(scope.parameter(a), 1, 0, x.shape[1]!));
    low.set(x, product);
    return product;
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
  peft: peftKind(veraSchema, layout),
} satisfies MethodDefinition<VeraOptions>;
