// LoRA (Hu et al. 2021): y = W x + b + s · B A dropout(x), with A [rank, in] and B [out, rank] trained.
// Names, defaults, scaling and file format are those of PEFT's `LoraConfig`.

import { sizeOf, type Tensor } from "../../tensor/index.ts";
import { fromLoraMoeConfig, isLoraMoe } from "../experts/moe-lora-options.ts";
import type {
  BoundMethod,
  MethodDefinition,
  MethodScope,
  ModelDescription,
  ParameterSpec,
  ParameterValues,
} from "../method.ts";
import { savedModules, trainedBiases } from "../saved-modules.ts";
import { isStoredTransposed, selectTargets } from "../targets.ts";
import { rescaleRows } from "./dora-scale.ts";
import { evaProbe } from "./eva.ts";
import { checkCombinations } from "./lora-checks.ts";
import { fromLoraConfig, toPeftConfig } from "./lora-config.ts";
import { convertedOptions, convertedTensors } from "./lora-conversion.ts";
import { adaptedEmbedding, adaptedLinear } from "./lora-forward.ts";
import { startsAsPartOfBase } from "./lora-init.ts";
import { type CompleteLora, LORA_IDLE, type LoraOptions, loraSchema } from "./lora-options.ts";
import { addProduct } from "./lora-product.ts";
import { type LoraSite, loraSite, parametersOf } from "./lora-sites.ts";
import { tokenRows } from "./token-rows.ts";

const DEFAULTS = {
  rank: 8,
  alpha: 8,
  rankPattern: {},
  alphaPattern: {},
  rslora: false,
  dropout: 0,
  bias: "none",
  modulesToSave: [],
  init: true,
  dora: false,
  loraBias: false,
  learningRateRatio: 1,
} as const satisfies Omit<LoraOptions, "name">;

const completed = (given: LoraOptions, { usualTargets }: ModelDescription): CompleteLora => ({
  ...DEFAULTS,
  targets: usualTargets.attention,
  ...withoutUndefined(given),
});

/** @throws TunesmithError (config) for targets or modules that the model does not have */
function bindLora(given: LoraOptions, model: ModelDescription): BoundMethod {
  const options = completed(given, model);
  const { targets, exclude, layersToTransform: layers, dropout, bias, init } = options;
  const whole = savedModules(model, options.modulesToSave);
  const selected = selectTargets(model, { targets, exclude, layers, embeddings: true }).filter(
    ({ path }) => !whole.has(`${path}.weight`),
  );
  const tokens = options.trainableTokens && tokenRows(model, options.trainableTokens);
  const adapted = new Set(selected.map(({ path }) => path));
  checkCombinations(options, selected, tokens, whole, model.outputPath);

  const sites = new Map(selected.map((module) => [module.path, loraSite(module, options)]));
  const { embeddingScale } = model.dimensions;
  const embedding = [...sites.values()].find(({ kind }) => kind === "embedding");
  const replaces = new Map(
    [...trainedBiases(model, bias, selected), ...whole].map(([use, spec]) => [
      use,
      spec.shape.length === 1 && options.learningRateRatio !== 1
        ? { ...spec, learningRateFactor: options.learningRateRatio }
        : spec,
    ]),
  );
  // The embedding never starts as a part of its table, in which every token reads one row.
  const taking = startsAsPartOfBase(init) ? [...sites.values()].filter(isMatrix) : [];
  const named = [...new Set(selected.map(({ path }) => path.split(".").at(-1)!))];

  return {
    name: "lora",
    adapted: [...new Set([...adapted, ...(tokens?.ids.keys() ?? [])])],
    ranks: [...sites.values()].map(({ rankUse }) => rankUse),
    ...(tokens && { tokenRows: tokens.ids }),
    parameters: [
      ...[...sites.values()].flatMap(parametersOf),
      ...replaces.values(),
      ...(tokens?.parameters ?? []),
    ],
    replaces,
    linear(path, x, base, scope) {
      const site = sites.get(path);
      const y = site ? adaptedLinear(site, x, base, dropout, scope) : base(x);
      return path === model.outputPath && tokens ? tokens.output(x, y, scope) : y;
    },
    ...((embedding || tokens) && {
      embed(x: Tensor, scope: MethodScope) {
        const known = embedding ? adaptedEmbedding(embedding, x, scope, embeddingScale) : x;
        return tokens ? tokens.embed(known, scope) : known;
      },
    }),
    mergeInto(use, data, values) {
      tokens?.mergeInto(use, data, values);
      const site = sites.get(use.replace(/\.(weight|bias)$/, ""));
      if (site && use.endsWith(".bias")) addBias(site, data, values);
      else if (site) {
        addProduct(site, data, values);
        if (site.dora) rescaleRows(site, data, values(site.dora.magnitude));
      }
    },
    ...unmergeableBias(selected, options),
    ...(taking.length > 0 && {
      takenFromBase: new Map(
        taking.map(({ path, a, b, dora }) => [
          `${path}.weight`,
          [a, b, ...(dora ? [dora.magnitude] : [])],
        ]),
      ),
      addTakenPart(use: string, data: Float32Array, values: ParameterValues) {
        addProduct(sites.get(use.replace(/\.weight$/, ""))!, data, values);
      },
    }),
    ...(init === "loftq" && {
      startsFromRounding: [...sites.values()].filter(isMatrix).map(({ weight }) => weight),
    }),
    saved: {
      config: toPeftConfig(
        taking.length > 0 ? convertedOptions(options) : options,
        model,
        named,
        isStoredTransposed(selected),
      ),
      ...(taking.length > 0 && {
        tensors: (values: ParameterValues, initial: ParameterValues) => {
          const parts = new Set(taking);
          // The embedding has twice the rank in the file too: it started with nothing in its A.
          const zeros = ({ shape }: ParameterSpec) => new Float32Array(sizeOf(shape));
          const rest = [
            ...[...sites.values()].flatMap((site) => parametersOf(site).slice(2)),
            ...replaces.values(),
            ...(tokens?.parameters ?? []),
          ];
          return new Map([
            ...[...sites.values()].flatMap((site) =>
              convertedTensors(site, values, parts.has(site) ? initial : zeros),
            ),
            ...rest
              .filter(({ derived }) => !derived)
              .map((spec) => [spec.key, { shape: spec.shape, data: values(spec) }] as const),
          ]);
        },
      }),
    },
  };
}

const isMatrix = ({ kind }: LoraSite) => kind !== "embedding";

function withoutUndefined<T extends object>(options: T): T {
  return Object.fromEntries(
    Object.entries(options).filter(([, value]) => value !== undefined),
  ) as T;
}

function addBias({ bias, scaling }: LoraSite, data: Float32Array, values: ParameterValues): void {
  if (!bias) return;
  values(bias).forEach((value, i) => {
    data[i]! += scaling * value;
  });
}

/** A module that has no bias has no place for the one that `loraBias` adds. */
function unmergeableBias(
  selected: readonly { readonly path: string; readonly hasBias: boolean }[],
  { loraBias }: CompleteLora,
): Pick<BoundMethod, "unmergeable"> {
  const without = loraBias ? selected.find(({ hasBias }) => !hasBias) : undefined;
  return without
    ? { unmergeable: `loraBias adds a bias to ${without.path}, which the model has none for` }
    : {};
}

export const lora = {
  schema: loraSchema,
  learningRate: 2e-4,
  describe: (options) => describeLora(options.dora ? "DoRA" : "LoRA", options),
  idle: LORA_IDLE,
  bind: bindLora,
  fromData: {
    probe: (options, model, products) =>
      options.init === "eva" ? evaProbe(completed(options, model), model, products) : undefined,
    decided(config, folder) {
      const { targets, rankPattern, alphaPattern } = fromLoraConfig(config, folder);
      return { targets, rankPattern, alphaPattern };
    },
  },
  peft: {
    type: "LORA",
    options: (config, folder) =>
      isLoraMoe(config) ? fromLoraMoeConfig(config, folder) : fromLoraConfig(config, folder),
  },
} satisfies MethodDefinition<LoraOptions>;

/** One line for model cards and plans. */
export function describeLora(kind: string, options: Omit<LoraOptions, "name">): string {
  const { rank, alpha, targets } = { ...DEFAULTS, ...withoutUndefined(options) };
  const shown = targets ? [targets].flat().join(", ") : "the usual layers of attention";
  return `${kind}, rank ${rank}, alpha ${alpha}, on ${shown}`;
}
