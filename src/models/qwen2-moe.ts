// Qwen1.5-MoE and Qwen2-MoE (Yang et al. 2024): Qwen2 whose feed-forward is, in most layers, a few of
// many small experts beside one that every row has, scaled by a gate of its own. Reference:
// Transformers' `modeling_qwen2_moe`.

import { multiply, sigmoid } from "../tensor/index.ts";
import { expertWeights, routerWeight, routingWeights } from "./experts.ts";
import { linearWeights, llamaLike, readLlamaLike } from "./llama-like.ts";
import { balancing } from "./load-balancing.ts";
import { readRouting } from "./routing-config.ts";
import { refuseWindows } from "./sliding-window.ts";
import { swiglu, swigluWeights } from "./swiglu.ts";

const ROUTER = "gate";

/** The layers that have experts. */
function isSparse(
  { denseLayers, sparseStep }: { denseLayers: readonly unknown[]; sparseStep: number },
  layer: number,
): boolean {
  return !denseLayers.includes(layer) && (layer + 1) % sparseStep === 0;
}

export const qwen2Moe = llamaLike({
  modelType: "qwen2_moe",
  readConfig(reader) {
    refuseWindows(reader, false);
    return {
      ...readLlamaLike(reader, { normEpsilon: 1e-6 }),
      ...readRouting(reader, "num_experts", { experts: 60, topK: 4 }),
      renormalised: reader.boolean("norm_topk_prob", false),
      denseSize: reader.integer("intermediate_size"),
      expertSize: reader.integer("moe_intermediate_size"),
      sharedSize: reader.integer("shared_expert_intermediate_size"),
      biased: reader.boolean("qkv_bias", true),
      denseLayers: reader.list("mlp_only_layers"),
      sparseStep: reader.integer("decoder_sparse_step", 1),
    };
  },
  biasedProjections: ({ biased }) => (biased ? ["q_proj", "k_proj", "v_proj"] : []),
  feedForward: {
    name: "mlp",
    weights(config, layer, path) {
      const { experts, hiddenSize: hidden, expertSize, sharedSize, denseSize } = config;
      if (!isSparse(config, layer)) return swigluWeights(path, hidden, denseSize);
      return [
        routerWeight(`${path}.${ROUTER}`, experts, hidden),
        ...expertWeights(`${path}.experts`, config, (expert) =>
          swigluWeights(expert, hidden, expertSize),
        ),
        ...swigluWeights(`${path}.shared_expert`, hidden, sharedSize),
        ...linearWeights(`${path}.shared_expert_gate`, 1, hidden),
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
          shared: multiply(
            swiglu(`${path}.shared_expert`, x, scope),
            sigmoid(scope.linear(`${path}.shared_expert_gate`, x)),
          ),
        }),
        expert: (index, x, scope) => swiglu(`${path}.experts.${index}`, x, scope),
      };
    },
  },
  auxiliaryLoss(config) {
    const { layers, topK, balanced, balance } = config;
    const routers = Array.from({ length: layers }, (_, layer) => layer)
      .filter((layer) => isSparse(config, layer))
      .map((layer) => `model.layers.${layer}.mlp.${ROUTER}`);
    if (!balanced || routers.length === 0) return undefined;
    return (statistics) => balancing(statistics, routers, topK, balance);
  },
});
