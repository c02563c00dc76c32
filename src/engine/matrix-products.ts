// Products of a matrix with a few vectors as kernels: for methods that decompose what layers read, many
// times faster than arithmetic in JavaScript, and as exact as float32 is.

import type { Runtime, Value } from "../runtime/kernel.ts";
import type { DenseMatrix, MatrixProducts } from "../runtime/linear-algebra/dense-matrix.ts";
import { floatData, floats } from "../runtime/values.ts";
import { input, matmul, type Shape, type Tensor, transpose } from "../tensor/index.ts";
import { paddedRowCount } from "./rows.ts";

/** Products of matrices; rows of zeros are added, so that few kernels are compiled. */
export const kernelProducts =
  (runtime: Runtime) =>
  ({ data, rows, columns }: DenseMatrix): MatrixProducts => {
    const shape = [paddedRowCount(rows), columns];
    const padded = new Float32Array(shape[0]! * columns);
    padded.set(data);
    const matrix = floats(padded, shape);
    const w = input("w", shape);
    return {
      times: (vectors) => multiply(runtime, w, w, matrix, vectors, rows),
      transposedTimes: (vectors) =>
        multiply(runtime, w, transpose(w, [1, 0]), matrix, vectors, columns),
    };
  };

/** `left` is w or its transpose; of each product the first `length` numbers count. */
async function multiply(
  runtime: Runtime,
  w: Tensor,
  left: Tensor,
  matrix: Value,
  vectors: readonly Float64Array[],
  length: number,
): Promise<Float64Array[]> {
  const shape: Shape = [left.shape[1]!, vectors.length];
  const x = input("x", shape);
  const kernel = await runtime.compile([matmul(left, x)], [w, x]);
  const beside = new Float32Array(shape[0]! * vectors.length);
  vectors.forEach((vector, k) => {
    for (let i = 0; i < vector.length; i++) beside[i * vectors.length + k] = vector[i]!;
  });
  const [product] = await kernel.run([matrix, floats(beside, shape)]);
  const values = floatData(product!);
  return vectors.map((_, k) => {
    const column = new Float64Array(length);
    for (let i = 0; i < length; i++) column[i] = values[i * vectors.length + k]!;
    return column;
  });
}
