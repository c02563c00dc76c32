// The waves of FourierFT: what few frequencies add to a weight, or to rows that go through it, from cosines
// and sines at half of each axis.

import { torchGenerator, torchPermutation } from "../../runtime/torch-random.ts";
import {
  add,
  concat,
  constantTensor,
  gatherRows,
  matmul,
  multiply,
  negate,
  scatterRows,
  subtract,
  type Tensor,
  transpose,
} from "../../tensor/index.ts";
import type { ParameterSpec } from "../method.ts";
import type { LinearModule } from "../targets.ts";

/**
 * Cosines and sines of the chosen frequencies F at the positions of the first half of an axis, one set for
 * all layers of a size. The other half mirrors it, sines with the other sign, so that a change of
 * weights costs a quarter of the multiplications. With a and b the angles of row and column,
 * Re((cos a + i sin a)(cos b + i sin b)) = cos a cos b − sin a sin b.
 */
export interface Waves {
  /** [half of out, F] */
  readonly columns: WavePair;
  /** [F, half of in], scaled */
  readonly rows: WavePair;
}

export interface WavePair {
  readonly cosines: ParameterSpec;
  readonly sines: ParameterSpec;
}

/** @param settings the seed chooses the frequencies */
export function waves(
  { inputSize, outputSize }: LinearModule,
  frequencies: number,
  { seed, scaling }: { readonly seed: number; readonly scaling: number },
): Waves {
  const size = inputSize * outputSize;
  const name = `fourierft.${outputSize}x${inputSize}.${frequencies}`;
  const wave = (
    part: string,
    shape: readonly number[],
    element: (places: readonly number[], i: number) => number,
  ): ParameterSpec => ({
    key: `${name}.${part}`,
    shape,
    frozen: true,
    derived: true,
    async initial() {
      const places = torchPermutation(torchGenerator(seed), size, frequencies);
      return Float32Array.from({ length: shape[0]! * shape[1]! }, (_, i) => element(places, i));
    },
  });
  // Multiples of angles are taken modulo the size, so that they keep all digits.
  const angle = (multiple: number, length: number) => (2 * Math.PI * (multiple % length)) / length;
  const [above, beside] = [halfOf(outputSize), halfOf(inputSize)];
  const column = (part: string, of: (angle: number) => number) =>
    wave(`columns.${part}`, [above, frequencies], (places, i) => {
      const row = Math.floor(places[i % frequencies]! / inputSize);
      return of(angle(row * Math.floor(i / frequencies), outputSize));
    });
  const row = (part: string, of: (angle: number) => number) =>
    wave(`rows.${part}`, [frequencies, beside], (places, i) => {
      const multiple = (places[Math.floor(i / beside)]! % inputSize) * (i % beside);
      return (of(angle(multiple, inputSize)) * scaling) / size;
    });
  return {
    columns: { cosines: column("cosines", Math.cos), sines: column("sines", Math.sin) },
    rows: { cosines: row("cosines", Math.cos), sines: row("sines", Math.sin) },
  };
}

/** Of cosines and sines. */
export type TensorPair = readonly [cosines: Tensor, sines: Tensor];

/** The same done to both. */
export const ofBoth = <T, U>(
  [cosines, sines]: readonly [T, T],
  what: (each: T, i: 0 | 1) => U,
): readonly [U, U] => [what(cosines, 0), what(sines, 1)];

/** Positions of the half of an axis that is kept: 0 up to the middle. */
const halfOf = (length: number): number => Math.floor(length / 2) + 1;

/** Where a position of an axis is in its half, and the sign of sines there. */
const mirrored = (position: number, length: number): readonly [at: number, sign: 1 | -1] =>
  position < halfOf(length) ? [position, 1] : [length - position, -1];

/** An index for each position of an axis. */
const indices = (length: number, place: (at: number, sign: 1 | -1) => number): Tensor =>
  constantTensor(
    BigInt64Array.from({ length }, (_, i) => BigInt(place(...mirrored(i, length)))),
    [length],
  );

/**
 * From what cosines and sines give at the half of an axis, [half, n] each, the whole axis: their difference,
 * and beyond the middle their sum.
 */
function unfolded([cosines, sines]: TensorPair, length: number): Tensor {
  const half = halfOf(length);
  const both = concat([subtract(cosines, sines), add(cosines, sines)], 0);
  return gatherRows(
    both,
    indices(length, (at, sign) => (sign > 0 ? at : half + at)),
  );
}

/** What is added to the weight, [out, in]. */
export function weightOfWaves(
  left: TensorPair,
  right: TensorPair,
  { inputSize, outputSize }: LinearModule,
): Tensor {
  const [cosines, sines] = ofBoth(left, (wave, i) => transpose(matmul(wave, right[i]), [1, 0]));
  // Rows beyond the middle see sines with the other sign.
  const near = unfolded([cosines, sines], inputSize);
  const far = unfolded([cosines, negate(sines)], inputSize);
  const rows = transpose(concat([near, far], 1), [1, 0]);
  const half = halfOf(outputSize);
  return gatherRows(
    rows,
    indices(outputSize, (at, sign) => (sign > 0 ? at : half + at)),
  );
}

/** The same times rows x [rows, in], without the weight: [rows, out]. */
export function throughWaves(
  x: Tensor,
  left: TensorPair,
  right: TensorPair,
  { inputSize, outputSize }: LinearModule,
): Tensor {
  const signs = Float32Array.from({ length: inputSize }, (_, j) => mirrored(j, inputSize)[1]);
  const turned = transpose(x, [1, 0]);
  const signed = multiply(turned, constantTensor(signs, [inputSize, 1]));
  const seen = ofBoth([turned, signed], (each) =>
    scatterRows(
      each,
      indices(inputSize, (at) => at),
      halfOf(inputSize),
    ),
  );
  const halves = ofBoth(left, (wave, i) => matmul(wave, matmul(right[i], seen[i])));
  return transpose(unfolded(halves, outputSize), [1, 0]);
}

/** Numbers of waves, as `Waves` has them. */
interface WaveNumbers {
  readonly cosines: Float32Array;
  readonly sines: Float32Array;
}

/** The same added to a weight [out, in], as numbers: sums are made for half of each axis. */
export function addWaves(
  weight: Float32Array,
  coefficients: Float32Array,
  columns: WaveNumbers,
  rows: WaveNumbers,
  { inputSize, outputSize }: LinearModule,
): void {
  const [frequencies, half] = [coefficients.length, halfOf(inputSize)];
  const even = new Float64Array(half);
  const odd = new Float64Array(half);
  for (let at = 0; at < halfOf(outputSize); at++) {
    even.fill(0);
    odd.fill(0);
    for (let k = 0; k < frequencies; k++) {
      const cosine = columns.cosines[at * frequencies + k]! * coefficients[k]!;
      const sine = columns.sines[at * frequencies + k]! * coefficients[k]!;
      for (let i = 0; i < half; i++) {
        even[i]! += cosine * rows.cosines[k * half + i]!;
        odd[i]! += sine * rows.sines[k * half + i]!;
      }
    }
    for (const out of new Set([at, (outputSize - at) % outputSize])) {
      const [, ofOut] = mirrored(out, outputSize);
      for (let column = 0; column < inputSize; column++) {
        const [i, ofColumn] = mirrored(column, inputSize);
        weight[out * inputSize + column]! += even[i]! - ofOut * ofColumn * odd[i]!;
      }
    }
  }
}
