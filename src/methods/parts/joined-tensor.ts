// A tensor of a file that is kept in pieces, one a layer, so that a layer's gradient is its own.

import type { AdapterTensor } from "../../hub/index.ts";
import { type Shape, sizeOf } from "../../tensor/index.ts";
import type { AdapterTensors, ParameterSpec, ParameterValues } from "../method.ts";

export interface JoinedTensor {
  readonly key: string;
  /** In the file. */
  readonly shape: Shape;
  /** All of one shape. */
  readonly pieces: readonly ParameterSpec[];
  /** The axis of the pieces along which they lie side by side. */
  readonly axis: 0 | 1;
}

/**
 * A tensor in `count` pieces of one shape.
 * @param spec makes a piece of its key and shape
 * @param flat whether the file has the whole as a vector
 */
export function inPieces(
  { key, count, shape, axis }: Pick<JoinedTensor, "key" | "axis" | "shape"> & { count: number },
  spec: (key: string, shape: Shape) => ParameterSpec,
  flat = false,
): JoinedTensor {
  const whole = shape.map((size, i) => (i === axis ? size * count : size));
  return {
    key,
    shape: flat ? [sizeOf(whole)] : whole,
    pieces: Array.from({ length: count }, (_, i) => spec(`${key}.${i}`, shape)),
    axis,
  };
}

/** The whole, as the file has it. */
export function joinPieces(
  { shape, pieces, axis }: JoinedTensor,
  values: ParameterValues,
): AdapterTensor {
  const data = new Float32Array(sizeOf(shape));
  eachRun(pieces, axis, (i, inPiece, inWhole) => {
    data.set(values(pieces[i]!).subarray(...inPiece), inWhole[0]);
  });
  return { shape, data };
}

/**
 * The pieces of what a file has. Where that has another shape, each piece is the whole, and whoever
 * compares shapes says so; where there is nothing, there are none.
 */
export function splitTensor(
  { key, shape, pieces, axis }: JoinedTensor,
  tensors: AdapterTensors,
): AdapterTensors {
  const whole = tensors.get(key);
  if (!whole) return new Map();
  if (shape.join() !== whole.shape.join()) return new Map(pieces.map((spec) => [spec.key, whole]));
  const parts = pieces.map((spec) => new Float32Array(sizeOf(spec.shape)));
  eachRun(pieces, axis, (i, inPiece, inWhole) => {
    parts[i]!.set(whole.data.subarray(...inWhole), inPiece[0]);
  });
  return new Map(pieces.map((spec, i) => [spec.key, { shape: spec.shape, data: parts[i]! }]));
}

type Run = readonly [start: number, end: number];

/** Calls back for each run of numbers that lie together in a piece and in the whole. */
function eachRun(
  pieces: readonly ParameterSpec[],
  axis: number,
  call: (piece: number, inPiece: Run, inWhole: Run) => void,
): void {
  const { shape } = pieces[0]!;
  const length = sizeOf(shape.slice(axis));
  for (let row = 0; row < sizeOf(shape) / length; row++)
    for (let i = 0; i < pieces.length; i++) {
      const [from, to] = [row * length, (row * pieces.length + i) * length];
      call(i, [from, from + length], [to, to + length]);
    }
}
