// Memory that is used again whenever the same purpose asks for the same shapes.

import type { Value } from "../../runtime/kernel.ts";
import { floats } from "../../runtime/values.ts";
import { type Shape, sizeOf } from "../../tensor/index.ts";
import { remember } from "../remember.ts";

/** Values of these shapes, with whatever they last held. */
export type ScratchMemory = (purpose: string, shapes: readonly Shape[]) => readonly Value[];

/** Shapes whose memory is kept. */
const KEPT_SHAPES = 16;

export function createScratchMemory(): ScratchMemory {
  const kept = new Map<string, Value[]>();
  return (purpose, shapes) => {
    const key = `${purpose} ${shapes.map((shape) => shape.join("x")).join(" ")}`;
    return remember(kept, key, KEPT_SHAPES, () =>
      shapes.map((shape) => floats(new Float32Array(sizeOf(shape)), shape)),
    );
  };
}
