// Mixtral (Jiang et al. 2024): Mistral whose feed-forward is a few of several experts, their weights
// scaled to add up to 1. Names are those of checkpoints, `block_sparse_moe`; Transformers 5 has other ones
// in memory and writes these. Reference: its `modeling_mixtral`.

import { expertWeights, routerWeight, routingWeights } from "./experts.ts";
import { readLlamaLike } from "./llama-config.ts";
import { llamaLike } from "./llama-like.ts";
import { balancing } from "./load-balancing.ts";
import { readRouting } from "./routing-config.ts";
import { readWindow } from "./sliding-window.ts";
import { swiglu, swigluWeights } from "./swiglu.ts";

const NAMES = { gate: "w1", up: "w3", down: "w2" };
const ROUTER = "gate";
const MODULE = "block_sparse_moe";

export const mixtral = llamaLike({
  modelType: "mixtral",
  covers: "Mixtral: Mistral with experts",
  usualTargets: { scaledInputs: [NAMES.down] },
  readConfig(reader) {
    reader.only("router_jitter_noise", 0);
    return {
      ...readLlamaLike(reader, { normEpsilon: 1e-5, rope: { theta: 1e6 } }),
      ...readWindow(reader),
      ...readRouting(reader, "num_local_experts", { experts: 8, topK: 2 }),
      renormalised: true,
      intermediateSize: reader.integer("intermediate_size"),
    };
  },
  feedForward: {
    name: MODULE,
    weights: (config, _layer, path) => [
      routerWeight(`${path}.${ROUTER}`, config.experts, config.hiddenSize),
      ...expertWeights(`${path}.experts`, config, (expert) =>
        swigluWeights(expert, config.hiddenSize, config.intermediateSize, { names: NAMES }),
      ),
    ],
    routed: (config, _layer, path) => ({
      router: ROUTER,
      experts: "experts",
      count: config.experts,
      route: (x, scope) => ({
        input: x,
        weights: routingWeights(`${path}.${ROUTER}`, x, config, scope),
      }),
      expert: (index, x, scope) => swiglu(`${path}.experts.${index}`, x, scope, NAMES),
    }),
  },
  auxiliaryLoss: ({ layers, topK, balanced, balance }) => {
    if (!balanced) return undefined;
    const routers = Array.from(
      { length: layers },
      (_, layer) => `model.layers.${layer}.${MODULE}.${ROUTER}`,
    );
    return (statistics) => balancing(statistics, routers, topK, balance);
  },
});
