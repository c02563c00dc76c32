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

/** Makes one for the `count` leading directions of centred rows, found with the given kind of products. */
export function incrementalSvds(
  products: (matrix: DenseMatrix) => MatrixProducts,
): (width: number, count: number) => IncrementalSvd {
  const starts = createStarts();
  let memory = new Float32Array(0); // of all, as one batch is taken after another
  return (width, count) => {
    let found: PrincipalDirections = { directions: [], values: [], shares: [] };
    let mean = new Float64Array(width);
    let variation = new Float64Array(width); // Σ (x - mean)² of all rows
    let seen = 0;

    return {
      get found() {
        return found;
      },
      async add({ data, rows }) {
        const total = seen + rows;
        const known = seen === 0 ? 0 : count; // rows that stand for those before
        const size = (seen === 0 ? rows : count + rows + 1) * width;
        if (memory.length < size) memory = new Float32Array(size);
        const stacked = memory.subarray(0, size);
        found.directions.forEach((direction, k) => {
          const value = found.values[k]!;
          stacked.set(
            direction.map((x) => value * x),
            k * width,
          );
        });
        const own = centre(data, width, stacked.subarray(known * width, (known + rows) * width));
        const shift = mean.map((value, i) => value - own.mean[i]!);
        // What the batch's mean being another than that of the rows before adds.
        const scale = Math.sqrt((seen / total) * rows);
        if (seen > 0)
          stacked.set(
            shift.map((x) => scale * x),
            (known + rows) * width,
          );

        variation = variation.map(
          (sum, i) => sum + own.variation[i]! + ((seen * rows) / total) * shift[i]! ** 2,
        );
        mean = mean.map((value, i) => (value * seen + own.mean[i]! * rows) / total);
        const whole = variation.reduce((sum, value) => sum + value, 0);
        const matrix = { data: stacked, rows: stacked.length / width, columns: width };
        // PEFT's matrix is float32 as long as no mean, which is float64, is part of it.
        const start = starts(
          Math.min(matrix.rows, width),
          count,
          seen === 0 ? "float32" : "float64",
        );
        seen = total;
        const { values, directions } = await decompose(matrix, count, start, products(matrix));
        found = { values, directions, shares: values.map((value) => value ** 2 / whole) };
      },
    };
  };
}

/** Writes rows without their mean; tells it, and the sum of squares around it, of each column. */
function centre(data: Float32Array, width: number, centred: Float32Array) {
  const mean = new Float64Array(width);
  const variation = new Float64Array(width);
  const rows = data.length / width;
  for (let start = 0; start < data.length; start += width)
    for (let i = 0; i < width; i++) mean[i]! += data[start + i]!;
  for (let i = 0; i < width; i++) mean[i]! /= rows;
  for (let start = 0; start < data.length; start += width)
    for (let i = 0; i < width; i++) {
      const difference = data[start + i]! - mean[i]!;
      centred[start + i] = difference;
      variation[i]! += difference * difference;
    }
  return { mean, variation };
}

/** Starts kept: layers of one width begin with the same, and a model has few widths. */
const MOST_STARTS = 8;

/** Gives the vectors, each of `length` numbers, that PyTorch begins with. They are not to be changed. */
function createStarts() {
  const drawn = new Map<string, readonly Float64Array[]>();
  return (length: number, count: number, dtype: "float32" | "float64") => {
    const key = `${length} ${count} ${dtype}`;
    let start = drawn.get(key);
    if (!start) {
      if (drawn.size === MOST_STARTS) drawn.clear();
      const draws = OVERSAMPLING * count;
      const normal = torchNormal(torchGenerator(SEED), Math.max(16, length * draws), dtype);
      // More vectors than they have numbers span no more than the first of them.
      start = Array.from({ length: Math.min(draws, length) }, (_, k) =>
        Float64Array.from({ length }, (__, i) => normal[i * draws + k]!),
      );
      drawn.set(key, start);
    }
    return start;
  };
}

async function decompose(
  { rows, columns }: DenseMatrix,
  count: number,
  start: readonly Float64Array[],
  { times, transposedTimes }: MatrixProducts,
): Promise<Omit<PrincipalDirections, "shares">> {
  // PyTorch turns a wide matrix, and draws fewer numbers.
  const isWide = rows < columns;
  const tall = isWide
    ? { times: transposedTimes, transposedTimes: times }
    : { times, transposedTimes };
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
