// Values in memory and a pool of them: buffers of a training step are the same size at every step,
// and fresh ones would cost a page fault for every 4 KiB.

import * as ort from "onnxruntime-node";
import type { Shape } from "../tensor/index.ts";
import { sizeOf } from "../tensor/index.ts";
import type { Value } from "./kernel.ts";

export const floats = (data: Float32Array, shape: Shape): Value =>
  new ort.Tensor("float32", data, shape);

export const integers = (data: BigInt64Array, shape: Shape): Value =>
  new ort.Tensor("int64", data, shape);

export const counts = (data: Int32Array, shape: Shape): Value =>
  new ort.Tensor("int32", data, shape);

export const bytes = (data: Uint8Array, shape: Shape): Value =>
  new ort.Tensor("uint8", data, shape);

export const wholeNumbers = (data: Int8Array, shape: Shape): Value =>
  new ort.Tensor("int8", data, shape);

/** Some rows (along the first axis) of a value, in its own memory. */
export function rowsFrom(value: Value, start: number, end: number): Value {
  const [, ...inner] = value.dims;
  const width = sizeOf(inner);
  const data = (value.data as Float32Array).subarray(start * width, end * width);
  return new ort.Tensor(value.type as "float32", data, [end - start, ...inner]);
}

export const floatData = (value: Value): Float32Array => value.data as Float32Array;

export interface BufferPool {
  /** Memory for a tensor, with whatever it last held. */
  take(shape: Shape): Value;
  /** Gives the memory back; the value must not be used afterwards. */
  give(value: Value): void;
  /** Lets go of all memory that is not taken. */
  clear(): void;
  /** Bytes held, taken or not. */
  readonly bytes: number;
}

/**
 * A request is served by the smallest free buffer of at most twice its size. One that none serves is
 * allocated in place of the next smaller free one, so that batches of many widths together hold
 * about as much as the widest of them.
 */
export function createBufferPool(): BufferPool {
  const free: Float32Array[] = []; // shortest first
  let held = 0;
  return {
    take(shape) {
      const size = sizeOf(shape);
      const found = free.findIndex((data) => data.length >= size);
      const fits = found >= 0 && free[found]!.length <= 2 * size;
      if (fits) return floats(free.splice(found, 1)[0]!.subarray(0, size), shape);
      const smaller = (found < 0 ? free.length : found) - 1;
      if (smaller >= 0) held -= free.splice(smaller, 1)[0]!.byteLength;
      held += size * 4;
      return floats(new Float32Array(size), shape);
    },
    give(value) {
      const whole = new Float32Array(floatData(value).buffer);
      const place = free.findIndex((data) => data.length >= whole.length);
      free.splice(place < 0 ? free.length : place, 0, whole);
    },
    clear() {
      for (const data of free) held -= data.byteLength;
      free.length = 0;
    },
    get bytes() {
      return held;
    },
  };
}
