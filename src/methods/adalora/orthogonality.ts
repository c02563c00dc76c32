// What keeps the factors of AdaLoRA near those of a singular value decomposition: how far the rows of A and
// the columns of B are from being orthogonal and of length 1. PEFT adds the norms; the paper's equation 4
// their squares.

import type { ParameterSpec, TensorLoss } from "../method.ts";

/**
 * weight · ‖V Vᵀ − I‖, the Frobenius norm, with the rows or the columns of a matrix as the vectors in V. Its
 * gradient is weight · 2 (V Vᵀ − I) V / ‖V Vᵀ − I‖.
 */
export function distanceFromOrthogonal(
  spec: ParameterSpec,
  vectors: "rows" | "columns",
  data: Float32Array,
  weight: number,
): TensorLoss {
  const [rows = 0, columns = 0] = spec.shape;
  const count = vectors === "rows" ? rows : columns;
  const length = vectors === "rows" ? columns : rows;
  // Where the next vector begins, and the next element of one.
  const [next, step] = vectors === "rows" ? [columns, 1] : [1, columns];
  const excess = new Float64Array(count * count);
  let squares = 0;
  for (let i = 0; i < count; i++)
    for (let j = 0; j <= i; j++) {
      let sum = i === j ? -1 : 0;
      for (let k = 0; k < length; k++)
        sum += data[i * next + k * step]! * data[j * next + k * step]!;
      excess[i * count + j] = sum;
      excess[j * count + i] = sum;
      squares += (i === j ? 1 : 2) * sum * sum;
    }
  const norm = Math.sqrt(squares);
  const gradient = new Float32Array(data.length);
  if (norm > 0)
    for (let i = 0; i < count; i++)
      for (let j = 0; j < count; j++) {
        const factor = (2 * weight * excess[i * count + j]!) / norm;
        for (let k = 0; k < length; k++)
          gradient[i * next + k * step]! += factor * data[j * next + k * step]!;
      }
  return { spec, loss: weight * norm, gradient };
}
