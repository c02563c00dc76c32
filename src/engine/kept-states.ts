// States of pictures that no training changes: they are computed when a picture is first seen, and kept as
// long as they fit.

import type { PixelValues } from "./batch.ts";

export interface KeptStates {
  get(picture: PixelValues): Float32Array | undefined;
  set(picture: PixelValues, states: Float32Array): void;
}

/** How much is kept. */
export const KEPT_BYTES = 512 * 2 ** 20;

/** @param limit bytes; what was used longest ago goes first */
export function createKeptStates(limit = KEPT_BYTES): KeptStates {
  const kept = new Map<PixelValues, Float32Array>();
  let bytes = 0;
  return {
    get(picture) {
      const states = kept.get(picture);
      if (!states) return undefined;
      kept.delete(picture);
      kept.set(picture, states);
      return states;
    },
    set(picture, states) {
      kept.set(picture, states);
      bytes += states.byteLength;
      for (const [oldest, { byteLength }] of kept) {
        if (bytes <= limit) return;
        kept.delete(oldest);
        bytes -= byteLength;
      }
    },
  };
}
