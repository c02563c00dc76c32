// A matrix as the product of two thin ones that is nearest to it: its leading singular triplets
// (Eckart and Young 1936), B = U Σ and A = Vᵀ, as PEFT divides them.

import { Matrix, QrDecomposition, SVD } from "ml-matrix";
import { addLowRank } from "../methods/index.ts";
import type { DenseMatrix } from "../runtime/linear-algebra/dense-matrix.ts";
import { leadingTriplets } from "../runtime/linear-algebra/singular-vectors.ts";
import type { Random } from "../runtime/random.ts";
import { type LoraModule, withUnitScaling } from "./plain-lora.ts";

/** A fixed rank, or the smallest one that keeps this share of the sum of squared singular values. */
export type RankChoice = { readonly rank: number } | { readonly energy: number };

/** W ≈ B A with orthonormal rows of A; `random` draws where the search starts. */
export function factorsOf(weight: DenseMatrix, choice: RankChoice, random: Random): LoraModule {
  const { data, rows, columns } = weight;
  // The search keeps vectors of the length of a column: the shorter side is made the column.
  if (rows > columns) {
    const { values, left, right } = tripletsOf(transposed(weight), choice, random);
    return moduleOf(values, right, left, rows, columns);
  }
  const { values, left, right } = tripletsOf({ data, rows, columns }, choice, random);
  return moduleOf(values, left, right, rows, columns);
}

/** Where PEFT sums in single precision, its sums are exact to this share. */
const SUM_TOLERANCE = 1e-7;

function tripletsOf(weight: DenseMatrix, choice: RankChoice, random: Random) {
  if ("rank" in choice) return leadingTriplets(weight, choice.rank, random);
  const total = weight.data.reduce((sum, x) => sum + x * x, 0);
  const wanted = choice.energy * total * (1 - SUM_TOLERANCE);
  for (let count = Math.min(16, weight.rows); ; count = Math.min(2 * count, weight.rows)) {
    const triplets = leadingTriplets(weight, count, random);
    const rank = rankFor(wanted, triplets.values) ?? (count === weight.rows ? count : undefined);
    if (rank === undefined) continue;
    return {
      values: triplets.values.slice(0, rank),
      left: triplets.left.slice(0, rank),
      right: triplets.right.slice(0, rank),
    };
  }
}

/** How many of the values it takes for their squares to sum up to `wanted`. */
function rankFor(wanted: number, values: readonly number[]): number | undefined {
  let sum = 0;
  const last = values.findIndex((value) => {
    sum += value * value;
    return sum >= wanted;
  });
  return last < 0 ? undefined : last + 1;
}

/**
 * The leading part of Σ weights[i] · (scaling B A of module i), found from the thin factors alone:
 * with [B₁ …] = Q R and [A₁; …]ᵀ = P S, the triplets are those of the small matrix R Sᵀ.
 */
export function factorsOfSum(
  modules: readonly LoraModule[],
  weights: readonly number[],
  choice: RankChoice,
  random: Random,
): LoraModule {
  const sum = concatenated(modules, weights);
  const { a, b, rank, inputSize, outputSize } = sum;
  // Factors that are not thin save nothing.
  if (rank > Math.min(inputSize, outputSize))
    return factorsOf(
      { data: productOf(sum), rows: outputSize, columns: inputSize },
      choice,
      random,
    );
  const columns = new QrDecomposition(new Matrix(rowsOf(b, outputSize, rank)));
  const rows = new QrDecomposition(new Matrix(rowsOf(a, rank, inputSize)).transpose());
  const middle = columns.upperTriangularMatrix.mmul(rows.upperTriangularMatrix.transpose());
  const small = new SVD(middle, { autoTranspose: true });
  const values = small.diagonal;
  const total = values.reduce((squares, value) => squares + value * value, 0);
  const kept =
    "rank" in choice
      ? choice.rank
      : (rankFor(choice.energy * total * (1 - SUM_TOLERANCE), values) ?? rank);
  const left = columns.orthogonalMatrix.mmul(small.leftSingularVectors);
  const right = rows.orthogonalMatrix.mmul(small.rightSingularVectors);
  const column = (matrix: Matrix, i: number) =>
    i < values.length ? Float64Array.from(matrix.getColumn(i)) : new Float64Array(matrix.rows);
  const indices = Array.from({ length: kept }, (_, i) => i);
  return moduleOf(
    indices.map((i) => values[i] ?? 0),
    indices.map((i) => column(left, i)),
    indices.map((i) => column(right, i)),
    outputSize,
    inputSize,
  );
}

/** Σ weights[i] · (scaling B A of module i) as one module: matrices A below, B beside one another. */
export function concatenated(
  modules: readonly LoraModule[],
  weights: readonly number[],
): LoraModule {
  const { inputSize, outputSize } = modules[0]!;
  const rank = modules.reduce((sum, module) => sum + module.rank, 0);
  const a = new Float32Array(rank * inputSize);
  const b = new Float32Array(outputSize * rank);
  let start = 0;
  modules.forEach((module, i) => {
    const scaled = withUnitScaling({ ...module, scaling: module.scaling * weights[i]! });
    a.set(module.a, start * inputSize);
    for (let out = 0; out < outputSize; out++)
      b.set(scaled.b.subarray(out * module.rank, (out + 1) * module.rank), out * rank + start);
    start += module.rank;
  });
  return { a, b, rank, inputSize, outputSize, scaling: 1 };
}

/** scaling · B A, [outputSize, inputSize]. */
export function productOf(module: LoraModule): Float32Array {
  const { a, b, rank, inputSize, outputSize, scaling } = module;
  const product = new Float32Array(outputSize * inputSize);
  addLowRank(product, module, (out, r) => scaling * b[out * rank + r]!, a);
  return product;
}

/** ‖scaling · B A‖, from the thin factors alone: the trace of (BᵀB)(AAᵀ). */
export function normOf({ a, b, rank, inputSize, outputSize, scaling }: LoraModule): number {
  let square = 0;
  for (let i = 0; i < rank; i++)
    for (let j = 0; j < rank; j++) {
      let ofB = 0;
      for (let out = 0; out < outputSize; out++) ofB += b[out * rank + i]! * b[out * rank + j]!;
      let ofA = 0;
      for (let k = 0; k < inputSize; k++) ofA += a[i * inputSize + k]! * a[j * inputSize + k]!;
      square += ofB * ofA;
    }
  return Math.abs(scaling) * Math.sqrt(Math.max(0, square));
}

function moduleOf(
  values: readonly number[],
  left: readonly Float64Array[],
  right: readonly Float64Array[],
  outputSize: number,
  inputSize: number,
): LoraModule {
  const rank = values.length;
  const a = new Float32Array(rank * inputSize);
  const b = new Float32Array(outputSize * rank);
  values.forEach((value, i) => {
    a.set(right[i]!, i * inputSize);
    for (let out = 0; out < outputSize; out++) b[out * rank + i] = value * left[i]![out]!;
  });
  return { a, b, rank, inputSize, outputSize, scaling: 1 };
}

function transposed({ data, rows, columns }: DenseMatrix): DenseMatrix {
  const result = new Float32Array(data.length);
  for (let row = 0; row < rows; row++)
    for (let column = 0; column < columns; column++)
      result[column * rows + row] = data[row * columns + column]!;
  return { data: result, rows: columns, columns: rows };
}

const rowsOf = (data: Float32Array, rows: number, columns: number): Float32Array[] =>
  Array.from({ length: rows }, (_, row) => data.subarray(row * columns, (row + 1) * columns));
