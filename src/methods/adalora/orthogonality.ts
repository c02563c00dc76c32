// What keeps the factors of AdaLoRA near those of a singular value decomposition: how far the rows of A and
// the columns of B are from being orthogonal and of length 1. PEFT adds the norms; the paper's equation 4
// their squares.

import {
  add,
  constant,
  constantTensor,
  matmul,
  multiply,
  sqrt,
  subtract,
  sum,
  type Tensor,
} from "../../tensor/index.ts";

/** Keeps the gradient where there is no distance at all; it is below what float32 adds to a distance. */
const LEAST_SQUARES = 1e-20;

/** ‖V Vᵀ − I‖, the Frobenius norm, with the rows or the columns of a matrix as the vectors in V; [1, 1]. */
export function distanceFromOrthogonal(matrix: Tensor, vectors: "rows" | "columns"): Tensor {
  const areRows = vectors === "rows";
  const products = matmul(matrix, matrix, { transposeA: !areRows, transposeB: areRows });
  const count = products.shape[0]!;
  const identity = Float32Array.from({ length: count * count }, (_, i) =>
    i % (count + 1) === 0 ? 1 : 0,
  );
  const excess = subtract(products, constantTensor(identity, products.shape));
  return sqrt(add(sum(multiply(excess, excess), [0, 1]), constant(LEAST_SQUARES)));
}
