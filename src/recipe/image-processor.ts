// How a model reads images, from the files beside its weights.

import { type ImageProcessor, loadImageProcessor } from "../hub/index.ts";
import type { BoundArchitecture } from "../models/index.ts";

/** Undefined for a model that does not look at images, or does not say how. */
export async function imageProcessorOf(
  folder: string,
  { images }: Pick<BoundArchitecture, "images">,
): Promise<ImageProcessor | undefined> {
  if (!images) return undefined;
  return loadImageProcessor(folder, (square) =>
    images.rowCount(images.positions(square, square).length),
  );
}
