// The RMS norms of a block: before or behind each of its halves, and on queries and keys.

import { add, constant, reshape, rmsNorm, sizeOf, type Tensor } from "../tensor/index.ts";
import type { Scope, WeightSpec } from "./architecture.ts";

/** Names within the block of the norms around one half; what is absent is not there. */
export interface HalfNorms {
  readonly before?: string;
  readonly after?: string;
}

/** Names of the norms around both halves. */
export interface BlockNorms {
  readonly attention: HalfNorms;
  readonly feedForward: HalfNorms;
}

/** In front of both halves, as LLaMA has them. */
export const PRE_NORMS: BlockNorms = {
  attention: { before: "input_layernorm" },
  feedForward: { before: "post_attention_layernorm" },
};

/** What is added to a norm's weight to have its factor: 1 where files hold offsets from it (Gemma). */
export type NormOffset = 0 | 1;

/** @param x [rows, width] */
export function normed(
  path: string,
  x: Tensor,
  epsilon: number,
  offset: NormOffset,
  scope: Scope,
): Tensor {
  const weight = scope.weight(`${path}.weight`);
  return rmsNorm(x, offset === 0 ? weight : add(weight, constant(offset)), epsilon);
}

/** [rows, heads · headSize], every head normed for itself where `width` is that of a head. */
export function normedInParts(x: Tensor, width: number, norm: (x: Tensor) => Tensor): Tensor {
  return reshape(norm(reshape(x, [sizeOf(x.shape) / width, width])), x.shape);
}

export const normWeight = (path: string, width: number): WeightSpec => ({
  name: `${path}.weight`,
  shape: [width],
  role: "norm",
});
