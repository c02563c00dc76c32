// Image files as pixels, by the package sharp. It is installed apart: its decoders are larger than all of
// tunesmith, and texts need none.

import { TunesmithError } from "../../errors.ts";
import type { Pixels } from "./resample.ts";

export interface ImageSize {
  readonly width: number;
  readonly height: number;
}

/**
 * The size of an image as it is meant to be seen, from the head of its file.
 * @throws TunesmithError (config) where sharp is not installed, (data) for a file that is no image
 */
export const imageSize = (path: string): Promise<ImageSize> =>
  reading(path, async (sharp) => {
    const { width, height, orientation = 1 } = await sharp(path).metadata();
    // The other orientations of Exif have lines and columns exchanged.
    return orientation < 5 ? { width, height } : { width: height, height: width };
  });

/** The image as red, green and blue, turned as it is meant to be seen; throws as `imageSize` does. */
export const decodeImage = (path: string): Promise<Pixels> =>
  reading(path, async (sharp) => {
    const decoded = sharp(path).autoOrient().removeAlpha().toColourspace("srgb");
    const { data, info } = await decoded
      .raw({ depth: "uchar" })
      .toBuffer({ resolveWithObject: true });
    const { width, height, channels } = info;
    if (channels === 3) return { width, height, data };
    const grey = Uint8Array.from(
      { length: 3 * width * height },
      (_, i) => data[Math.floor(i / 3) * channels]!,
    );
    return { width, height, data: grey };
  });

type Sharp = typeof import("sharp").default;

async function reading<Result>(
  path: string,
  read: (sharp: Sharp) => Promise<Result>,
): Promise<Result> {
  const sharp = await loadSharp(path);
  try {
    return await read(sharp);
  } catch (cause) {
    throw new TunesmithError(
      "data",
      {
        where: path,
        rule: "an image is a file of a known kind (PNG, JPEG, WebP, GIF, TIFF, AVIF)",
        seen: (cause as Error).message.split("\n")[0]!,
        fix: "check that the file is there and whole",
      },
      { cause },
    );
  }
}

async function loadSharp(path: string): Promise<Sharp> {
  try {
    return (await import("sharp")).default;
  } catch (cause) {
    throw new TunesmithError(
      "config",
      {
        where: path,
        rule: "images are decoded by the package sharp, which is installed apart",
        seen: (cause as Error).message.split("\n")[0]!,
        fix: "npm install sharp",
      },
      { cause },
    );
  }
}
