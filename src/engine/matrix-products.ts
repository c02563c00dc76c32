// Products of a matrix with a few vectors as kernels: for methods that decompose what layers read, many
// times faster than arithmetic in JavaScript, and as exact as float32 is.

import type { Runtime, Value } from "../runtime/kernel.ts";
import type { DenseMatrix, MatrixProducts } from "../runtime/linear-algebra/dense-matrix.ts";
import { floatData, floats } from "../runtime/values.ts";
import { input, matmul, type Shape, type Tensor } from "../tensor/index.ts";
import { paddedRowCount } from "./rows.ts";

/**
 * Products of one matrix at a time: the next one takes its memory, as large pieces that come and go
 * keep the collector of garbage busy. Rows of zeros are added, so that few kernels are compiled.
 */
export function kernelProducts(runtime: Runtime): (matrix: DenseMatrix) => MatrixProducts {
  let memory = new Float32Array(0);
  return ({ data, rows, columns }) => {
    const shape = [paddedRowCount(rows), columns];
    const size = shape[0]! * columns;
    if (memory.length < size) memory = new Float32Array(size);
    const padded = memory.subarray(0, size);
    padded.set(data);
    padded.fill(0, data.length);
    const matrix = floats(padded, shape);
    const w = input("w", shape);
    return {
      times: (vectors) => multiply(runtime, w, matrix, vectors, rows, { transposeB: true }),
      transposedTimes: (vectors) => multiply(runtime, w, matrix, vectors, columns, {}),
    };
  };
}

/** The vectors, as rows, times w or its transpose; of each product the first `length` numbers count. */
async function multiply(
  runtime: Runtime,
  w: Tensor,
  matrix: Value,
  vectors: readonly Float64Array[],
  length: number,
  options: { readonly transposeB?: boolean },
): Promise<Float64Array[]> {
  const inner = w.shape[options.transposeB ? 1 : 0]!;
  const shape: Shape = [vectors.length, inner];
  const x = input("x", shape);
  const kernel = await runtime.compile([matmul(x, w, options)], [w, x]);
  const stacked = new Float32Array(vectors.length * inner);
  vectors.forEach((vector, k) => {
    stacked.set(vector, k * inner);
  });
  const [product] = await kernel.run([matrix, floats(stacked, shape)]);
  // In one piece of memory: the collector of garbage would have much to do with one for each.
  const values = new Float64Array(floatData(product!));
  const stride = values.length / vectors.length;
  return vectors.map((_, k) => values.subarray(k * stride, k * stride + length));
}
