// Orthogonal matrices from skew-symmetric ones, as OFT and BOFT train them: Cayley's transform (1846)
// R = (I − Q)(I + Q)⁻¹, or a Neumann series in place of the inverse (Qiu et al. 2025). Everything is
// there twice: as a graph for training, and as numbers for merging.

import { inverse as inverted, Matrix } from "ml-matrix";
import {
  add,
  constant,
  constantTensor,
  inverse,
  matmul,
  multiply,
  reshape,
  subtract,
  type Tensor,
  transpose,
} from "../../tensor/index.ts";

/**
 * How Q becomes a rotation: exactly, or with two or more terms of the series. PEFT's series is that of
 * (I + Q)(I − Q)⁻¹, the inverse of what its exact form is, and its last term counts once.
 */
export type RotationForm = { readonly terms: number } | "exact";

/**
 * Coefficients of I, Q, Q², ... in PEFT's series: 1, 2, ..., 2, 1. Three terms are as many as four: the
 * last one is always there.
 */
function seriesOf(terms: number): number[] {
  if (terms === 2) return [1, 2];
  const highest = Math.max(3, terms - 1);
  return [1, ...new Array<number>(highest - 1).fill(2), 1];
}

const identityValues = (size: number) =>
  Float32Array.from({ length: size * size }, (_, i) => (i % (size + 1) === 0 ? 1 : 0));

/** Rotations [count, size, size] of skew-symmetric matrices of that shape. */
export function rotationOf(skew: Tensor, form: RotationForm): Tensor {
  const size = skew.shape[1]!;
  const identity = constantTensor(identityValues(size), [1, size, size]);
  // (I − Q)(I + Q)⁻¹ = (2 I − (I + Q))(I + Q)⁻¹: one product less.
  if (form === "exact")
    return subtract(multiply(inverse(add(identity, skew)), constant(2)), identity);
  const coefficients = seriesOf(form.terms);
  const term = (i: number) => multiply(identity, constant(coefficients[i]!));
  const highest = coefficients.length - 1;
  // Horner's rule, from the innermost bracket: its product with Q needs no matrix multiplication.
  let sum = add(term(highest - 1), multiply(skew, constant(coefficients[highest]!)));
  for (let i = highest - 2; i >= 0; i--) sum = add(term(i), matmul(skew, sum));
  return sum;
}

/** x R for every block of columns of x [rows, count · size] with its own R of [count, size, size]. */
export function rotateBlocks(x: Tensor, rotation: Tensor): Tensor {
  const [rows, width] = x.shape as [number, number];
  const [count, size] = rotation.shape as [number, number];
  if (count === 1) {
    const all = reshape(x, [(rows * width) / size, size]);
    return reshape(matmul(all, reshape(rotation, [size, size])), x.shape);
  }
  const blocks = transpose(reshape(x, [rows, count, size]), [1, 0, 2]);
  return reshape(transpose(matmul(blocks, rotation), [1, 0, 2]), x.shape);
}

/** The numbers of `rotationOf` for one matrix [size, size]. */
export function rotationValues(skew: Float64Array, size: number, form: RotationForm): Float64Array {
  const q = Matrix.from1DArray(size, size, skew);
  const identity = Matrix.eye(size);
  const rotation =
    form === "exact"
      ? inverted(Matrix.add(identity, q)).mul(2).sub(identity)
      : seriesOf(form.terms).reduceRight(
          (sum, coefficient) => q.mmul(sum).add(Matrix.mul(identity, coefficient)),
          Matrix.zeros(size, size),
        );
  return Float64Array.from(rotation.to1DArray());
}

/**
 * What a rotation of the input does to a weight [out, in]: W becomes W Rᵀ, block by block of columns.
 * @param rotation R of a block, by its number
 */
export function rotateWeight(
  weight: Float32Array,
  inputSize: number,
  size: number,
  rotation: (block: number) => Float64Array,
): void {
  const before = new Float64Array(size);
  for (let block = 0; block < inputSize / size; block++) {
    const r = rotation(block);
    for (let start = block * size; start < weight.length; start += inputSize) {
      before.set(weight.subarray(start, start + size));
      for (let i = 0; i < size; i++) {
        let sum = 0;
        for (let k = 0; k < size; k++) sum += r[i * size + k]! * before[k]!;
        weight[start + i] = sum;
      }
    }
  }
}
