// LoRA (Hu et al. 2021): y = W x + b + s · B A dropout(x), with A [rank, in] and B [out, rank] trained.
// Names, defaults, scaling and file format are those of PEFT's `LoraConfig`.

import { add, constant, linear, multiply } from "../tensor/index.ts";
import { fromLoraConfig, toPeftConfig } from "./lora-config.ts";
import { convertedOptions, convertedTensors } from "./lora-conversion.ts";
import { loraInitials, startsAsPartOfBase } from "./lora-init.ts";
import { type LoraOptions, loraSchema } from "./lora-options.ts";
import type {
  BoundMethod,
  MethodDefinition,
  ModelDescription,
  ParameterSpec,
  ParameterValues,
} from "./method.ts";
import { savedModules, trainedBiases } from "./saved-modules.ts";
import { patternValue, selectTargets } from "./targets.ts";

interface AdaptedModule {
  readonly a: ParameterSpec;
  readonly b: ParameterSpec;
  readonly scaling: number;
  readonly inputSize: number;
  readonly outputSize: number;
  readonly rank: number;
}

/** @throws TunesmithError (config) for targets or modules that the model does not have */
function bindLora(options: LoraOptions, model: ModelDescription): BoundMethod {
  const {
    rank = 8,
    alpha = 8,
    targets = ["q_proj", "v_proj"],
    exclude,
    rankPattern = {},
    alphaPattern = {},
    rslora = false,
    dropout = 0,
    bias = "none",
    modulesToSave = [],
    layersToTransform,
    init = true,
  } = options;
  const replaced = savedModules(model, modulesToSave);
  const selected = selectTargets(model, { targets, exclude, layers: layersToTransform }).filter(
    ({ path }) => !replaced.has(`${path}.weight`),
  );

  const modules = new Map<string, AdaptedModule>();
  for (const module of selected) {
    const { path, inputSize, outputSize } = module;
    const ownRank = patternValue(rankPattern, path, "method.rankPattern") ?? rank;
    const ownAlpha = patternValue(alphaPattern, path, "method.alphaPattern") ?? alpha;
    const scaling = ownAlpha / (rslora ? Math.sqrt(ownRank) : ownRank);
    const initial = loraInitials(init, { ...module, rank: ownRank, scaling });
    const prefix = `base_model.model.${path}`;
    modules.set(path, {
      a: { key: `${prefix}.lora_A.weight`, shape: [ownRank, inputSize], initial: initial.a },
      b: { key: `${prefix}.lora_B.weight`, shape: [outputSize, ownRank], initial: initial.b },
      scaling,
      inputSize,
      outputSize,
      rank: ownRank,
    });
  }
  const replaces = new Map([...trainedBiases(model, bias, selected), ...replaced]);
  const settings = {
    ...options,
    rank,
    alpha,
    targets,
    rankPattern,
    alphaPattern,
    rslora,
    dropout,
    bias,
    modulesToSave,
    init,
  };
  const adaptedNames = [...new Set(selected.map(({ path }) => path.split(".").at(-1)!))];
  const fromBase = startsAsPartOfBase(init);

  return {
    name: "lora",
    adapted: [...modules.keys()],
    parameters: [...[...modules.values()].flatMap(({ a, b }) => [a, b]), ...replaces.values()],
    replaces,
    linear(path, x, base, scope) {
      const module = modules.get(path);
      if (!module) return base(x);
      const dropped = scope.dropout(x, dropout, path);
      // The scaling goes where the tensor is smallest: [rows, rank].
      const low = multiply(linear(dropped, scope.parameter(module.a)), constant(module.scaling));
      return add(linear(low, scope.parameter(module.b)), base(x));
    },
    mergeInto(weight, data, parameter) {
      const module = modules.get(weight.replace(/\.weight$/, ""));
      if (!module || !weight.endsWith(".weight")) return;
      addProduct(data, parameter(module.b), parameter(module.a), module);
    },
    ...(fromBase && {
      takenFromBase: new Map([...modules].map(([path, { a, b }]) => [`${path}.weight`, [a, b]])),
    }),
    saved: {
      config: toPeftConfig(
        fromBase ? convertedOptions(settings) : settings,
        model.source,
        adaptedNames,
      ),
      ...(fromBase && {
        tensors: (values: ParameterValues, initial: ParameterValues) =>
          new Map([
            ...[...modules.values()].flatMap((module) => convertedTensors(module, values, initial)),
            ...[...replaces.values()].map(
              (spec) => [spec.key, { shape: spec.shape, data: values(spec) }] as const,
            ),
          ]),
      }),
    },
  };
}

/** weight += scaling · B A. */
function addProduct(
  weight: Float32Array,
  b: Float32Array,
  a: Float32Array,
  { rank, inputSize, outputSize, scaling }: AdaptedModule,
): void {
  const row = new Float64Array(inputSize);
  for (let out = 0; out < outputSize; out++) {
    row.fill(0);
    for (let r = 0; r < rank; r++) {
      const factor = scaling * b[out * rank + r]!;
      for (let i = 0; i < inputSize; i++) row[i]! += factor * a[r * inputSize + i]!;
    }
    for (let i = 0; i < inputSize; i++) weight[out * inputSize + i]! += row[i]!;
  }
}

export const lora = {
  schema: loraSchema,
  learningRate: 2e-4,
  describe: ({ rank = 8, alpha = 8, targets = ["q_proj", "v_proj"] }) =>
    `LoRA, rank ${rank}, alpha ${alpha}, on ${[targets].flat().join(", ")}`,
  bind: bindLora,
  peft: { type: "LORA", options: fromLoraConfig },
} satisfies MethodDefinition<LoraOptions>;
