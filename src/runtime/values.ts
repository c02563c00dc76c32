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

export const bytes = (data: Uint8Array, shape: Shape): Value =>
  new ort.Tensor("uint8", data, shape);

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

export function createBufferPool(): BufferPool {
  const free = new Map<number, Float32Array[]>();
  let held = 0;
  return {
    take(shape) {
      const size = sizeOf(shape);
      let data = free.get(size)?.pop();
      if (!data) {
        data = new Float32Array(size);
        held += data.byteLength;
      }
      return floats(data, shape);
    },
    give(value) {
      const data = floatData(value);
      const list = free.get(data.length);
      if (list) list.push(data);
      else free.set(data.length, [data]);
    },
    clear() {
      for (const list of free.values()) for (const data of list) held -= data.byteLength;
      free.clear();
    },
    get bytes() {
      return held;
    },
  };
}
