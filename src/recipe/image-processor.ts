// How a model reads images, from the files beside its weights.

import { TunesmithError } from "../errors.ts";
import { type ImageProcessor, loadImageProcessor, NO_IMAGES } from "../hub/index.ts";
import type { BoundArchitecture } from "../models/index.ts";

/** Undefined for a model that does not look at images. One that does not say how it reads them refuses each. */
export async function imageProcessorOf(
  folder: string,
  { images }: Pick<BoundArchitecture, "images">,
): Promise<ImageProcessor | undefined> {
  if (!images) return undefined;
  const loaded = await loadImageProcessor(folder, (square) =>
    images.rowCount(images.positions(square, square).length),
  );
  return loaded ?? withoutSettings(folder);
}

const withoutSettings = (folder: string): ImageProcessor => ({
  placeholder: NO_IMAGES.placeholder,
  async open(path) {
    throw new TunesmithError("checkpoint", {
      where: folder,
      rule: "images are read as preprocessor_config.json or processor_config.json says",
      seen: `neither, for ${path}`,
      fix: "fetch the model with all files of its folder",
    });
  },
});
