// X-LoRA (Buehler & Buehler 2024): LoRAs that were trained before stay as they are, and a classifier
// gives each of them a scaling for every token, from the last states of a first pass through the model.
// Reference: PEFT's `XLoraModel`.

import type { JsonObject } from "../../hub/index.ts";
import { add, constant, linear, multiply, slice, type Tensor } from "../../tensor/index.ts";
import type { BoundMethod, MethodDefinition, MethodScope, ModelDescription } from "../method.ts";
import { completeOptions } from "../option-schema.ts";
import { toPeftConfig } from "../peft-format.ts";
import { type LinearModule, linearModules } from "../targets.ts";
import {
  classify,
  innerStates,
  type XLoraClassifier,
  xLoraClassifier,
} from "./x-lora-classifier.ts";
import { type Expert, type ExpertSite, xLoraExpert } from "./x-lora-experts.ts";
import {
  checkTopK,
  fromXLoraConfig,
  type XLoraOptions,
  type XLoraSettings,
  xLoraLayout,
  xLoraSchema,
} from "./x-lora-options.ts";
import { firstPassScalings, scalings } from "./x-lora-scalings.ts";

/** @throws TunesmithError for folders without LoRAs, and LoRAs that cannot be mixed */
function bindXLora(given: XLoraOptions, model: ModelDescription): BoundMethod {
  const options = completeOptions(xLoraSchema, given);
  checkTopK(options);
  const experts = options.adapters.map((folder, number) =>
    xLoraExpert({ folder, number, isTrained: options.trainAdapters }, model),
  );
  const modules = linearModules(model, ["linear", "router"]).filter(({ path }) =>
    experts.some(({ sites }) => sites.has(path)),
  );
  const classifier = xLoraClassifier(options, model.dimensions.hiddenSize, modules.length);
  const layerOf = new Map(modules.map(({ path }, layer) => [path, layer]));
  const innerAt = perGraph((_, scope) => {
    const states = scope.firstStates();
    return states && innerStates(classifier, states, scope);
  });
  const scalingsAt = perGraph((layer, scope) =>
    siteScalings(classifier, options, innerAt(0, scope), layer, scope),
  );
  return {
    name: "x-lora",
    adapted: modules.map(({ path }) => path),
    parameters: [
      ...experts.flatMap(({ parameters }) => parameters),
      ...classifier.layers.flatMap(({ weight, bias }) => [weight, bias]),
    ],
    replaces: new Map(),
    readsWholeRows: true,
    readsFirstPass: true,
    linear(path, x, base, scope) {
      const layer = layerOf.get(path);
      if (layer === undefined) return base(x);
      // Without layerwise scalings all layers have those of the first.
      const shares = scalingsAt(options.layerwise ? layer : 0, scope);
      return mixed(experts, path, x, base(x), shares, options.weight, scope);
    },
    unmergeable: "a mixture of which each token has its own shares",
    async checkFiles() {
      for (const { checkFile } of experts) await checkFile();
    },
    saved: { config: savedConfig(options, experts, model, modules) },
  };
}

/** W x + Σᵢ weight · scalingᵢ · sᵢ · Bᵢ Aᵢ x; the factors go where the tensor is smallest: [rows, rank]. */
function mixed(
  experts: readonly Expert[],
  path: string,
  x: Tensor,
  output: Tensor,
  shares: readonly (Tensor | undefined)[],
  weight: number,
  scope: MethodScope,
): Tensor {
  return experts.reduce((sum, { sites, dropout, number }, i) => {
    const site: ExpertSite | undefined = sites.get(path);
    const share = shares[i];
    if (!site || !share) return sum;
    const low = linear(scope.dropout(x, dropout, `${path} ${number}`), scope.parameter(site.a));
    const scaled = multiply(low, multiply(share, constant(weight * site.scaling)));
    return add(linear(scaled, scope.parameter(site.b)), sum);
  }, output);
}

/** The scaling of every expert at a layer, [rows, 1] or one number; undefined where it is 0. */
function siteScalings(
  classifier: XLoraClassifier,
  options: XLoraSettings,
  inner: Tensor | undefined,
  layer: number,
  scope: MethodScope,
): (Tensor | undefined)[] {
  if (!inner)
    return firstPassScalings(options).map((value) => (value === 0 ? undefined : constant(value)));
  const all = scalings(classify(classifier, inner, layer, scope), options);
  return options.adapters.map((_, i) => slice(all, 1, i, i + 1));
}

/** `make`, once for each layer of a graph. */
function perGraph<T>(
  make: (layer: number, scope: MethodScope) => T,
): (layer: number, scope: MethodScope) => T {
  const graphs = new WeakMap<MethodScope, Map<number, T>>();
  return (layer, scope) => {
    const made = graphs.get(scope) ?? new Map<number, T>();
    graphs.set(scope, made);
    const value = made.get(layer) ?? make(layer, scope);
    made.set(layer, value);
    return value;
  };
}

function savedConfig(
  options: XLoraSettings,
  experts: readonly Expert[],
  model: ModelDescription,
  modules: readonly LinearModule[],
): JsonObject {
  return {
    ...toPeftConfig(xLoraLayout, options, model, modules),
    // PEFT asks for these names; what is written tells the folders of the copies.
    adapters: Object.fromEntries(options.adapters.map((folder, i) => [String(i), folder])),
    hidden_size: model.dimensions.hiddenSize,
    experts: experts.map(({ config }) => config),
  };
}

export const xLora = {
  schema: xLoraSchema,
  learningRate: 2e-4,
  describe: ({ adapters, topK, layerwise }) =>
    `X-LoRA of ${adapters.length} adapters${topK ? `, the best ${topK} of them` : ""}${layerwise ? ", layer by layer" : ""}`,
  bind: bindXLora,
  peft: { type: xLoraLayout.type, options: fromXLoraConfig },
} satisfies MethodDefinition<XLoraOptions>;
