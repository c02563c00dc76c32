// The feed-forward of the Qwens with experts: in most layers a few of many small ones, in Qwen2 beside
// one that every row has, scaled by a gate of its own. Reference: Transformers' `modeling_qwen2_moe`.

import { multiply, sigmoid } from "../tensor/index.ts";
import type { AuxiliaryLossOf } from "./architecture.ts";
import type { ConfigReader } from "./config-reader.ts";
import { expertWeights, type Routing, routerWeight, routingWeights } from "./experts.ts";
import { linearWeights } from "./linear-weights.ts";
import type { LlamaLikeConfig } from "./llama-config.ts";
import type { FeedForward } from "./llama-like.ts";
import { balancing } from "./load-balancing.ts";
import { type RoutingConfig, readRouting } from "./routing-config.ts";
import { swiglu, swigluWeights } from "./swiglu.ts";

const ROUTER = "gate";

export interface QwenExperts extends RoutingConfig, Routing {
  readonly denseSize: number;
  readonly expertSize: number;
  /** Of the expert that every row has, where there is one. */
  readonly sharedSize?: number;
  readonly denseLayers: readonly unknown[];
  /** One of so many layers has experts. */
  readonly sparseStep: number;
}

/** @param fallback what a config without the keys means */
export function readQwenExperts(
  reader: ConfigReader,
  fallback: Pick<RoutingConfig, "experts" | "topK">,
): QwenExperts {
  // Transformers 5 writes Qwen3's by another name.
  const expertsKey = reader.has("num_local_experts") ? "num_local_experts" : "num_experts";
  return {
    ...readRouting(reader, expertsKey, fallback),
    renormalised: reader.boolean("norm_topk_prob", false),
    denseSize: reader.integer("intermediate_size"),
    expertSize: reader.integer("moe_intermediate_size"),
    denseLayers: reader.list("mlp_only_layers"),
    sparseStep: reader.integer("decoder_sparse_step", 1),
  };
}

/** Whether a layer has experts. */
const isSparse = ({ denseLayers, sparseStep }: QwenExperts, layer: number): boolean =>
  !denseLayers.includes(layer) && (layer + 1) % sparseStep === 0;

export const qwenExperts: FeedForward<LlamaLikeConfig & QwenExperts> = {
  name: "mlp",
  weights(config, layer, path) {
    const { experts, hiddenSize: hidden, expertSize, sharedSize, denseSize } = config;
    if (!isSparse(config, layer)) return swigluWeights(path, hidden, denseSize);
    return [
      routerWeight(`${path}.${ROUTER}`, experts, hidden),
      ...expertWeights(`${path}.experts`, config, (expert) =>
        swigluWeights(expert, hidden, expertSize),
      ),
      ...(sharedSize === undefined
        ? []
        : [
            ...swigluWeights(`${path}.shared_expert`, hidden, sharedSize),
            ...linearWeights(`${path}.shared_expert_gate`, 1, hidden),
          ]),
    ];
  },
  run: (_config, _layer, path, x, scope) => swiglu(path, x, scope),
  routed(config, layer, path) {
    if (!isSparse(config, layer)) return undefined;
    return {
      router: ROUTER,
      experts: "experts",
      count: config.experts,
      route: (x, scope) => ({
        input: x,
        weights: routingWeights(`${path}.${ROUTER}`, x, config, scope),
        ...(config.sharedSize !== undefined && {
          shared: multiply(
            swiglu(`${path}.shared_expert`, x, scope),
            sigmoid(scope.linear(`${path}.shared_expert_gate`, x)),
          ),
        }),
      }),
      expert: (index, x, scope) => swiglu(`${path}.experts.${index}`, x, scope),
    };
  },
};

/** The balancing loss of the layers that have experts, where the config asks for it. */
export function qwenBalancing(config: LlamaLikeConfig & QwenExperts): AuxiliaryLossOf | undefined {
  const { layers, topK, balanced, balance } = config;
  const routers = Array.from({ length: layers }, (_, layer) => layer)
    .filter((layer) => isSparse(config, layer))
    .map((layer) => `model.layers.${layer}.${qwenExperts.name}.${ROUTER}`);
  if (!balanced || routers.length === 0) return undefined;
  return (statistics) => balancing(statistics, routers, topK, balance);
}
