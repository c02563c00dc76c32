// Dropout masks made from seeds instead of kept: the backward pass asks for the same mask again.

import type { Value } from "../runtime/kernel.ts";
import { createRandom } from "../runtime/random.ts";
import { bytes } from "../runtime/values.ts";
import { type Shape, sizeOf } from "../tensor/index.ts";

/** 1 where an element is kept, 0 where it is dropped; fixed by seed and site. */
export function dropoutMask(seed: number, site: string, probability: number, shape: Shape): Value {
  const random = createRandom(seed).fork(site);
  const data = new Uint8Array(sizeOf(shape));
  const threshold = Math.round(probability * 65536);
  for (let i = 0; i < data.length; i += 2) {
    const draw = random.nextUint32();
    data[i] = (draw & 0xffff) >= threshold ? 1 : 0;
    if (i + 1 < data.length) data[i + 1] = draw >>> 16 >= threshold ? 1 : 0;
  }
  return bytes(data, shape);
}
