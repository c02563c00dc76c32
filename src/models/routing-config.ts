// What config.json says of experts and of the loss that spreads tokens over them.

import type { ConfigReader } from "./config-reader.ts";

export interface RoutingConfig {
  readonly experts: number;
  readonly topK: number;
  readonly balanced: boolean;
  /** Weight of the balancing loss. */
  readonly balance: number;
}

/**
 * @param expertsKey the key of how many experts there are
 * @param fallback what a config without the keys means
 */
export function readRouting(
  reader: ConfigReader,
  expertsKey: string,
  fallback: Pick<RoutingConfig, "experts" | "topK">,
): RoutingConfig {
  const experts = reader.integer(expertsKey, fallback.experts);
  const topK = reader.integer("num_experts_per_tok", fallback.topK);
  if (topK > experts) reader.fault("num_experts_per_tok", `must be at most ${expertsKey}`);
  const balance = reader.number("router_aux_loss_coef", 0.001);
  const balanced = reader.boolean("output_router_logits", false) && balance > 0;
  return { experts, topK, balanced, balance };
}
