// Where bottleneck adapters sit in a model, and how wide they are there.

import { smallerSide } from "../fitting-ranks.ts";
import type { ModelDescription, RankUse } from "../method.ts";
import type { BottleneckSettings } from "./bottleneck-options.ts";

/** Where a half of a block has its adapter. */
export interface BottleneckSite {
  readonly layer: number;
  /** The path of the half, as `residual` names it. */
  readonly path: string;
  /** The prefix of all that the library has there: `model.layers.0.output_adapters`. */
  readonly slot: string;
}

/** The sites that settings choose, in the order of the model. */
export const bottleneckSites = (
  { blocks }: ModelDescription,
  { afterAttention, afterFeedForward, leaveOut }: BottleneckSettings,
): BottleneckSite[] =>
  blocks.flatMap(({ block, attention, feedForward }, layer) => {
    if (leaveOut.includes(layer)) return [];
    return [
      ...(afterAttention ? [{ layer, path: attention, slot: `${block}.attention_adapters` }] : []),
      ...(afterFeedForward ? [{ layer, path: feedForward, slot: `${block}.output_adapters` }] : []),
    ];
  });

/** The width of the adapters of a layer, at least 1. */
export function bottleneckWidth(
  factor: BottleneckSettings["reductionFactor"],
  hiddenSize: number,
  layer: number,
): number {
  return Math.max(1, Math.floor(hiddenSize / ownFactor(factor, layer)));
}

const ownFactor = (factor: BottleneckSettings["reductionFactor"], layer: number): number =>
  typeof factor === "number" ? factor : (factor[layer] ?? factor.default!);

/** For `BoundMethod.ranks`: factors that divide the hidden size, and the rank of Compacter's weights. */
export function bottleneckRanks(
  settings: BottleneckSettings,
  model: ModelDescription,
  sites: readonly BottleneckSite[],
): RankUse[] {
  const { hiddenSize } = model.dimensions;
  const { reductionFactor, phm, phmDimension, phmRank, phmFactorizedWeights } = settings;
  const reduction = (option: string, rank: number, path: string, largest: number): RankUse => ({
    kind: "reduction",
    option,
    rank,
    path,
    shape: [largest],
    largest,
  });
  const { invertible, invertibleReductionFactor: inner } = settings;
  const half = Math.floor(hiddenSize / 2);
  return [
    ...sites.map(({ path, layer }) =>
      reduction("reductionFactor", ownFactor(reductionFactor, layer), path, hiddenSize),
    ),
    ...(invertible ? [reduction("invertibleReductionFactor", inner, "the embedding", half)] : []),
    ...(phm && phmFactorizedWeights ? sites : []).map(({ path, layer }): RankUse => {
      const width = bottleneckWidth(reductionFactor, hiddenSize, layer);
      const shape = [hiddenSize / phmDimension, width / phmDimension] as const;
      const largest = smallerSide(shape);
      return { kind: "rank", option: "phmRank", rank: phmRank, path, shape, largest };
    }),
  ];
}
