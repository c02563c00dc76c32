// The product s · B A of a LoRA, of a linear module [out, in] and of an embedding, whose table is the
// transposed weight.

import type { ParameterSpec, ParameterValues } from "../method.ts";
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
  const { rank, inputSize, outputSize, scaling } = product;
  const [a, b, stride] = [values(product.a), values(product.b), strides(product)];
  const row = new Float64Array(inputSize);
  for (let out = 0; out < outputSize; out++) {
    row.fill(0);
    for (let r = 0; r < rank; r++) {
      const factor = scaling * b[out * rank + r]!;
      if (factor === 0) continue;
      for (let i = 0; i < inputSize; i++) row[i]! += factor * a[r * inputSize + i]!;
    }
    for (let i = 0; i < inputSize; i++) data[out * stride.out + i * stride.in]! += row[i]!;
  }
}
