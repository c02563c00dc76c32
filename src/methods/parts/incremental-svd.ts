// The leading directions of rows that come batch by batch, of which none is kept: what is known so far
// stands for all rows before (Ross et al. 2008), as in PEFT's `IncrementalPCA`, whose randomised
// decomposition is repeated with the numbers that PyTorch draws for it.

import type { DenseMatrix, MatrixProducts } from "../../runtime/linear-algebra/dense-matrix.ts";
import { iteratedTriplets } from "../../runtime/linear-algebra/singular-vectors.ts";
import { createRandom } from "../../runtime/random.ts";
import { torchGenerator, torchNormal } from "../../runtime/torch-random.ts";

/** Singular values, the largest first, with what belongs to each. */
export interface PrincipalDirections {
  /** Of the rows' width, orthonormal, the largest element positive; zero where the value is zero. */
  readonly directions: readonly Float64Array[];
  readonly values: readonly number[];
  /** Shares of the rows' variance. */
  readonly shares: readonly number[];
}

export interface IncrementalSvd {
  readonly found: PrincipalDirections;
  /** Takes a batch of rows [rows, width], `count` or more of them. */
  add(batch: DenseMatrix): Promise<void>;
}

/** PEFT draws twice as many vectors as it wants, improves them four times, and seeds them with 42. */
const OVERSAMPLING = 2;
const ITERATIONS = 4;
const SEED = 42;
/** What rounding of float32 leaves where there is nothing, as a share of the largest value. */
const NEGLIGIBLE = 1e-6;

/** The `count` leading directions of centred rows, found with the given kind of products. */
export function createIncrementalSvd(
  width: number,
  count: number,
  products: (matrix: DenseMatrix) => MatrixProducts,
): IncrementalSvd {
  let found: PrincipalDirections = { directions: [], values: [], shares: [] };
  let mean = new Float64Array(width);
  let variation = new Float64Array(width); // Σ (x - mean)² of all rows
  let seen = 0;

  return {
    get found() {
      return found;
    },
    async add({ data, rows }) {
      const own = moments(data, rows, width);
      const total = seen + rows;
      const stacked = new Float32Array((seen === 0 ? rows : count + rows + 1) * width);
      let place = 0;
      const put = (row: (i: number) => number) => {
        for (let i = 0; i < width; i++) stacked[place++] = row(i);
      };
      if (seen > 0)
        found.directions.forEach((direction, k) => {
          put((i) => found.values[k]! * direction[i]!);
        });
      for (let row = 0; row < rows; row++) put((i) => data[row * width + i]! - own.mean[i]!);
      // What the batch's mean being another than that of the rows before adds.
      const shift = Math.sqrt((seen / total) * rows);
      if (seen > 0) put((i) => shift * (mean[i]! - own.mean[i]!));

      variation = variation.map(
        (sum, i) =>
          sum + own.variation[i]! + ((seen * rows) / total) * (mean[i]! - own.mean[i]!) ** 2,
      );
      mean = mean.map((value, i) => (value * seen + own.mean[i]! * rows) / total);
      seen = total;
      const whole = variation.reduce((sum, value) => sum + value, 0);
      const matrix = { data: stacked, rows: stacked.length / width, columns: width };
      // PEFT's matrix is float32 as long as no mean, which is float64, is part of it.
      const dtype = found.values.length === 0 ? "float32" : "float64";
      const { values, directions } = await decompose(matrix, count, dtype, products(matrix));
      found = { values, directions, shares: values.map((value) => value ** 2 / whole) };
    },
  };
}

/** Of each column: the mean, and the sum of squares around it. */
function moments(data: Float32Array, rows: number, width: number) {
  const mean = new Float64Array(width);
  const variation = new Float64Array(width);
  for (let at = 0; at < data.length; at++) mean[at % width]! += data[at]! / rows;
  for (let at = 0; at < data.length; at++)
    variation[at % width]! += (data[at]! - mean[at % width]!) ** 2;
  return { mean, variation };
}

async function decompose(
  { rows, columns }: DenseMatrix,
  count: number,
  dtype: "float32" | "float64",
  { times, transposedTimes }: MatrixProducts,
): Promise<Omit<PrincipalDirections, "shares">> {
  // PyTorch turns a wide matrix, and draws fewer numbers.
  const isWide = rows < columns;
  const tall = isWide
    ? { times: transposedTimes, transposedTimes: times }
    : { times, transposedTimes };
  const [length, draws] = [Math.min(rows, columns), OVERSAMPLING * count];
  const normal = torchNormal(torchGenerator(SEED), Math.max(16, length * draws), dtype);
  // More vectors than they have numbers span no more than the first of them.
  const start = Array.from({ length: Math.min(draws, length) }, (_, k) =>
    Float64Array.from({ length }, (__, i) => normal[i * draws + k]!),
  );
  const triplets = await iteratedTriplets(tall, start, ITERATIONS, createRandom(SEED));
  const vectors = isWide ? triplets.left : triplets.right;
  const values = triplets.values.slice(0, count);
  const directions = values.map((value, k) => {
    const vector = vectors[k]!;
    if (value <= NEGLIGIBLE * values[0]!) return new Float64Array(vector.length);
    let largest = 0;
    for (const x of vector) if (Math.abs(x) > Math.abs(largest)) largest = x;
    return largest < 0 ? vector.map((x) => -x) : vector;
  });
  return { directions, values };
}
