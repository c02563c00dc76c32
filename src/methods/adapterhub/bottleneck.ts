// Bottleneck adapters (Houlsby et al. 2019; Pfeiffer et al. 2020; He et al. 2021): a small network
// behind or beside the halves of a block, u = s · Up(act(Down(z))). Reference: `Adapter` and
// `ParallelAdapter` of AdapterHub's library, for blocks that norm their inputs.

import { add, broadcast, constant, type Tensor } from "../../tensor/index.ts";
import type { MethodScope, ModelDescription, ParameterSpec } from "../method.ts";
import type { DenseLayer } from "../parts/dense-layer.ts";
import {
  filledSpec,
  normalSpec,
  truncatedSpec,
  uniformSpec,
  zeroSpec,
} from "../parts/initial-values.ts";
import { applyLayerNorm, type LayerNorm, layerNorm } from "../parts/layer-norm.ts";
import { applyNonLinearity } from "../parts/non-linearity.ts";
import { denseProduct, type Product } from "../parts/product.ts";
import { type AdapterPart, modelPrefix } from "./adapter-part.ts";
import { checkBottlenecks } from "./bottleneck-checks.ts";
import { type BottleneckSettings, toBottleneckConfig } from "./bottleneck-options.ts";
import {
  type BottleneckSite,
  bottleneckRanks,
  bottleneckSites,
  bottleneckWidth,
} from "./bottleneck-sites.ts";
import { couplingBlock } from "./coupling-block.ts";
import { phmProduct } from "./phm.ts";
import { gateLayer, rowGate, scaleRows } from "./row-gate.ts";

/** One adapter. */
export interface Bottleneck {
  /** Its prefix in the file. */
  readonly key: string;
  readonly parameters: readonly ParameterSpec[];
  /** What it adds, of what it reads; the residual is not in it. [rows, hidden] both. */
  readonly up: (z: Tensor, scope: MethodScope) => Tensor;
  readonly normAfter: LayerNorm | undefined;
}

/** @throws TunesmithError (config) for settings that contradict each other or the model */
export function bottleneckPart(
  settings: BottleneckSettings,
  model: ModelDescription,
  adapterName: string,
  where = "method",
): AdapterPart {
  checkBottlenecks(settings, model, where);
  const { hiddenSize } = model.dimensions;
  const sites = bottleneckSites(model, settings);
  const adapters = new Map(
    sites.map((site) => [site.path, bottleneck(settings, model, site, adapterName)]),
  );
  const coupling = settings.invertible
    ? couplingBlock(
        `${modelPrefix(model)}.invertible_adapters.${adapterName}`,
        hiddenSize,
        settings.invertibleReductionFactor,
        settings.nonLinearity,
      )
    : undefined;
  const parameters = [...adapters.values()].flatMap((adapter) => adapter.parameters);
  return {
    parameters: [...new Set([...parameters, ...(coupling?.parameters ?? [])])],
    adapted: [...adapters.keys()],
    ranks: bottleneckRanks(settings, model, sites),
    config: toBottleneckConfig(settings),
    ...(settings.stochasticDepth > 0 && { readsWholeRows: true }),
    ...(settings.gated && { mixesPositions: true }),
    residual(path, x, output, scope) {
      const adapter = adapters.get(path);
      return adapter && joinStream(settings, adapter, x, output, scope);
    },
    ...(coupling && { enter: coupling.forward }),
    ...(coupling && settings.invertsOutput && { output: coupling.inverse }),
  };
}

/** The residual stream behind the half: x what it read (before its norm), h what it gave. */
function joinStream(
  settings: BottleneckSettings,
  adapter: Bottleneck,
  x: Tensor,
  h: Tensor,
  scope: MethodScope,
): Tensor {
  const { parallel, originalNormAfter, adapterResidualBeforeNorm } = settings;
  const { z, residual } = adapterInput(settings, x, h);
  const norm = (y: Tensor) => (adapter.normAfter ? applyLayerNorm(y, adapter.normAfter, scope) : y);
  const added = adapter.up(z, scope);
  const inner =
    adapterResidualBeforeNorm && !parallel
      ? norm(add(added, residual))
      : add(norm(added), parallel ? h : residual);
  return originalNormAfter ? add(inner, x) : inner;
}

/** What an adapter reads, and the residual around it. */
export function adapterInput(
  { parallel, originalNormBefore, residualBeforeNorm }: BottleneckSettings,
  x: Tensor,
  h: Tensor,
): { readonly z: Tensor; readonly residual: Tensor } {
  if (parallel) return { z: x, residual: x };
  const z = originalNormBefore ? add(h, x) : h;
  return { z, residual: residualBeforeNorm ? h : z };
}

/** One adapter at a site. */
export function bottleneck(
  settings: BottleneckSettings,
  model: ModelDescription,
  { layer, slot }: BottleneckSite,
  adapterName: string,
): Bottleneck {
  const { hiddenSize } = model.dimensions;
  const key = `${slot}.adapters.${adapterName}`;
  const width = bottleneckWidth(settings.reductionFactor, hiddenSize, layer);
  const normBefore = settings.normBefore
    ? layerNorm(`${key}.adapter_norm_before`, hiddenSize)
    : undefined;
  const normAfter = settings.normAfter
    ? layerNorm(`${key}.adapter_norm_after`, hiddenSize)
    : undefined;
  const product = (position: "down" | "up", inputs: number, outputs: number): Product => {
    // The steps in front of the activation are numbered, a norm among them.
    const name = position === "down" ? `adapter_down.${normBefore ? 1 : 0}` : "adapter_up";
    const own = `${key}.${name}`;
    if (!settings.phm) return denseProduct(initialLayer(settings, own, position, inputs, outputs));
    const sharedKey = `${modelPrefix(model)}.shared_parameters.${adapterName}`;
    return phmProduct(settings, { key: own, sharedKey, position, inputs, outputs });
  };
  const down = product("down", hiddenSize, width);
  const up = product("up", width, hiddenSize);
  const scale =
    typeof settings.scaling === "string"
      ? filledSpec(`${key}.scaling`, [settings.scaling === "channel" ? hiddenSize : 1], 1)
      : undefined;
  // Houlsby's start is of the two products alone: the library leaves the gate as PyTorch makes it.
  const asMade = settings.init === "houlsby";
  const gate = settings.gated
    ? gateLayer(
        `${key}.gate`,
        hiddenSize,
        1,
        asMade ? "uniform" : "zero",
        asMade ? "uniform" : "small",
      )
    : undefined;
  const layers = [normBefore, normAfter, gate].filter((part) => part !== undefined);
  return {
    key,
    normAfter,
    parameters: [
      ...down.parameters,
      ...up.parameters,
      ...(scale ? [scale] : []),
      ...layers.flatMap(({ weight, bias }) => [weight, bias]),
    ],
    up(z, scope) {
      const input = normBefore ? applyLayerNorm(z, normBefore, scope) : z;
      const inner = applyNonLinearity(settings.nonLinearity, down.apply(input, scope));
      const added = scope.dropout(
        up.apply(inner, scope, scaleOf(settings, scale, scope)),
        settings.dropout,
        key,
      );
      const kept = dropRows(added, settings.stochasticDepth, key, scope);
      return gate ? scaleRows(kept, rowGate(z, gate, scope), scope) : kept;
    },
  };
}

const scaleOf = (
  { scaling }: BottleneckSettings,
  scale: ParameterSpec | undefined,
  scope: MethodScope,
): Tensor | undefined => {
  if (scale) return scope.parameter(scale);
  return scaling === 1 ? undefined : constant(scaling as number);
};

/** Stochastic depth (Huang et al. 2016): a row's adapter is left out as a whole. */
function dropRows(x: Tensor, probability: number, site: string, scope: MethodScope): Tensor {
  if (probability === 0 || !scope.training) return x;
  const ones = broadcast(constant(1), [scope.batch, 1, 1]);
  return scaleRows(x, scope.dropout(ones, probability, `${site} row`), scope);
}

function initialLayer(
  { init }: BottleneckSettings,
  key: string,
  position: "down" | "up",
  inputs: number,
  outputs: number,
): DenseLayer {
  const [name, shape] = [`${key}.weight`, [outputs, inputs]];
  const weight = {
    bert: () => normalSpec(name, shape, 0.02),
    houlsby: () => truncatedSpec(name, shape, 0.01),
    mam_adapter: () =>
      position === "up" ? zeroSpec(name, shape) : uniformSpec(name, shape, inputs),
  }[init]();
  return { weight, bias: zeroSpec(`${key}.bias`, [outputs]) };
}
