// LoRA (Hu et al. 2021): y = W x + b + s · B A dropout(x), with A [rank, in] and B [out, rank] trained.
// Names, defaults, scaling and file format are those of PEFT's `LoraConfig`.

import { TunesmithError } from "../../errors.ts";
import {
  add,
  constant,
  gatherRows,
  linear,
  multiply,
  reshape,
  sizeOf,
  subtract,
  type Tensor,
  transpose,
} from "../../tensor/index.ts";
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
import { doraScale, rescaleRows } from "./dora-scale.ts";
import { evaProbe } from "./eva.ts";
import { fromLoraConfig, toPeftConfig } from "./lora-config.ts";
import { convertedOptions, convertedTensors } from "./lora-conversion.ts";
import { startsAsPartOfBase } from "./lora-init.ts";
import { type CompleteLora, LORA_IDLE, type LoraOptions, loraSchema } from "./lora-options.ts";
import { addProduct } from "./lora-product.ts";
import { type LoraSite, loraSite, parametersOf } from "./lora-sites.ts";
import { type TokenRows, tokenRows } from "./token-rows.ts";

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
  checkCombinations(options, selected, tokens, whole);

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
      const site = sites.get(use.replace(/\.(weight|bias)$/, ""));
      if (site && use.endsWith(".bias")) addBias(site, data, values);
      else if (site) {
        addProduct(site, data, values);
        if (site.dora) rescaleRows(site, data, values(site.dora.magnitude));
      }
      tokens?.mergeInto(use, data, values);
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

/** s · B A x, and what B adds besides. The scaling goes where the tensor is smallest: [rows, rank]. */
function lowRank(site: LoraSite, inner: Tensor, scope: MethodScope): Tensor {
  const scaling = constant(site.scaling);
  const product = linear(multiply(inner, scaling), scope.parameter(site.b));
  return site.bias ? add(product, multiply(scope.parameter(site.bias), scaling)) : product;
}

function adaptedLinear(
  site: LoraSite,
  x: Tensor,
  base: (x: Tensor) => Tensor,
  dropout: number,
  scope: MethodScope,
): Tensor {
  const dropped = scope.dropout(x, dropout, site.path);
  const added = lowRank(site, linear(dropped, scope.parameter(site.a)), scope);
  if (!site.dora) return add(added, base(x));
  // The bias has no part in directions and lengths.
  const bias = site.hasBias ? scope.weight(`${site.path}.bias`) : undefined;
  const scale = doraScale(site, site.dora, scope);
  const product = bias ? subtract(base(dropped), bias) : base(dropped);
  if (dropped === x) {
    const y = multiply(scale, add(added, product));
    return bias ? add(y, bias) : y;
  }
  // As PEFT has it: what was dropped is missing from the change alone.
  const change = add(multiply(subtract(scale, constant(1)), product), multiply(scale, added));
  return add(change, base(x));
}

function adaptedEmbedding(site: LoraSite, x: Tensor, scope: MethodScope, scale = 1): Tensor {
  const rows = gatherRows(transpose(scope.parameter(site.a), [1, 0]), scope.tokenIds());
  const added = lowRank(site, reshape(rows, [x.shape[0]!, site.rank]), scope);
  const y = add(scale === 1 ? added : multiply(added, constant(scale)), x);
  return site.dora ? multiply(doraScale(site, site.dora, scope), y) : y;
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

/** @throws TunesmithError (config) for options that exclude each other */
function checkCombinations(
  { loraBias, dora, init, targets, modulesToSave }: CompleteLora,
  selected: readonly { readonly path: string; readonly kind: string }[],
  tokens: TokenRows | undefined,
  whole: ReadonlyMap<string, ParameterSpec>,
): void {
  const faults = [];
  if (loraBias && (dora || typeof init === "string"))
    faults.push({
      where: "method.loraBias",
      rule: "a bias of B goes with init true or false, and without DoRA, as in PEFT",
      seen: dora ? "dora: true" : `init: ${init}`,
      fix: `leave out loraBias or ${dora ? "dora" : "init"}`,
    });
  const embedding = selected.find(({ kind }) => kind === "embedding");
  if (loraBias && embedding)
    faults.push({
      where: "method.loraBias",
      rule: "an adapted embedding has no bias",
      seen: `${embedding.path} among the targets`,
      fix: "leave out loraBias, or the embedding",
    });
  const own = (path: string) =>
    selected.some((module) => module.path === path) || whole.has(`${path}.weight`);
  for (const path of [...(tokens?.ids.keys() ?? [])].filter(own))
    faults.push({
      where: "method.trainableTokens",
      rule: "a module has single rows trained, or is adapted or trained as a whole",
      seen: `${path} is in ${whole.has(`${path}.weight`) ? "modulesToSave" : "targets"} as well`,
      fix: `take it out of ${JSON.stringify(whole.has(`${path}.weight`) ? modulesToSave : targets)}, or leave out trainableTokens`,
    });
  if (faults.length > 0) throw new TunesmithError("config", faults);
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
