// What a decoder is given of pictures: their rows, made by the same encoder that training runs.

import { createBufferPool } from "../../runtime/values.ts";
import type { PixelValues } from "../batch.ts";
import { createBind } from "../bind.ts";
import { checkImages } from "../image-rows.ts";
import { createImageReader } from "../images.ts";
import type { DecodableModel } from "./decoder-contract.ts";

/** From the pictures of a prompt to what its image tokens give way to, [image rows, hidden]. */
export type ReadImages = (
  prompt: readonly number[],
  pictures: readonly PixelValues[],
) => Promise<Float32Array>;

/**
 * Reads pictures of prompts, which throws a TunesmithError (data, shape) for those that the model has no
 * place for or that make other than the rows that the prompt has tokens for.
 */
export function createReadImages(model: DecodableModel): ReadImages {
  const { architecture, weights, parameterSet: parameters } = model;
  const { images } = architecture;
  const bind = createBind(weights, parameters);
  const parts = { ...model, parameters, memory: "lean", pool: createBufferPool(), bind } as const;
  const reader = images && createImageReader(images, parts);
  return async (prompt, pixelValues) => {
    checkImages({ inputIds: [prompt], pixelValues }, architecture);
    return (await reader!.read(pixelValues)).states;
  };
}
