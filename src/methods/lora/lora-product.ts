// The product s · B A of a LoRA, of a linear module [out, in] and of an embedding, whose table is the
// transposed weight.

import type { ParameterSpec, ParameterValues } from "../method.ts";
import { addLowRank } from "../parts/merge-weights.ts";
import type { LinearModule } from "../targets.ts";

/** A module and the two matrices beside it. */
export interface LoraProduct extends LinearModule {
  readonly rank: number;
  readonly scaling: number;
  /** A, [rank, in]. */
  readonly a: ParameterSpec;
  /** B, [out, rank]. */
  readonly b: ParameterSpec;
}

/** What a weight [rows, columns] is to W [out, in]: the element (o, i) is at o · out + i · in. */
export function strides({ kind, inputSize, outputSize }: LinearModule): {
  out: number;
  in: number;
} {
  return kind === "embedding" ? { out: 1, in: outputSize } : { out: inputSize, in: 1 };
}

/** data += s · B A, in the layout of the checkpoint's weight. */
export function addProduct(
  product: LoraProduct,
  data: Float32Array,
  values: ParameterValues,
): void {
  const { rank, scaling } = product;
  const b = values(product.b);
  const column = (out: number, r: number) => scaling * b[out * rank + r]!;
  addLowRank(data, product, column, values(product.a), { strides: strides(product) });
}
