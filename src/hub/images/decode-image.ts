// Image files as pixels, by the package sharp. It is installed apart: its decoders are larger than all of
// tunesmith, and texts need none. Colours are the numbers that a file holds, whatever profile it names, as
// in Pillow: models were trained on those.

import { readFile } from "node:fs/promises";
import type { Metadata, SharpOptions } from "sharp";
import { TunesmithError } from "../../errors.ts";
import { checkImageFile } from "./image-file.ts";
import type { Pixels } from "./resample.ts";

export interface ImageSize {
  readonly width: number;
  readonly height: number;
}

/** Images of more pixels are taken for bombs, as by Pillow. */
export const MOST_PIXELS = 178_956_970;

const OPTIONS: SharpOptions = { ignoreIcc: true, limitInputPixels: false };

/**
 * What a whole file of a kind has at or near its end. Of the others, the head tells: its decoder looks
 * at all of the file.
 */
const ENDS: Readonly<Record<string, Buffer | undefined>> = {
  png: Buffer.from("IEND"),
  jpeg: Buffer.from([0xff, 0xd9]),
  webp: undefined,
  gif: undefined,
  tiff: undefined,
  heif: undefined,
};

/**
 * The size of an image as it is meant to be seen, from the head of its file; what can be told of the rest
 * without decoding it is checked as well.
 * @throws TunesmithError (config) where sharp is not installed, (data) for a file that is no image
 */
export async function imageSize(path: string): Promise<ImageSize> {
  await checkImageFile(path);
  const head = await reading(path, (sharp) => sharp(path, OPTIONS).metadata());
  await checkHead(path, head);
  const { width, height, orientation = 1 } = head;
  // The other orientations of Exif have lines and columns exchanged.
  return orientation < 5 ? { width, height } : { width: height, height: width };
}

/**
 * The image as red, green and blue, turned as it is meant to be seen, on white where it is transparent;
 * throws as `imageSize` does.
 */
export const decodeImage = (path: string): Promise<Pixels> =>
  reading(path, async (sharp) => {
    const image = sharp(path, OPTIONS).autoOrient();
    const isInk = (await image.metadata()).space === "cmyk";
    const decoded = isInk
      ? image.pipelineColourspace("cmyk").toColourspace("cmyk")
      : image.toColourspace("srgb");
    const { data, info } = await decoded
      .raw({ depth: "uchar" })
      .toBuffer({ resolveWithObject: true });
    const { width, height, channels } = info;
    return { width, height, data: isInk ? fromInk(data) : onWhite(data, channels) };
  });

/** Pillow's rounded division by 255. */
const per255 = (product: number) => (product + 128 + ((product + 128) >> 8)) >> 8;

/** Red, green and blue of cyan, magenta, yellow and black, each ink taking its share away, as in Pillow. */
function fromInk(data: Uint8Array): Uint8Array {
  const result = new Uint8Array((data.length / 4) * 3);
  for (let from = 0, to = 0; from < data.length; from += 4) {
    const light = 255 - data[from + 3]!;
    for (let ink = 0; ink < 3; ink++) result[to++] = light - per255(data[from + ink]! * light);
  }
  return result;
}

/** Pixels of three bytes, of pixels of one to four: grey or colour, with opacity where they are even. */
function onWhite(data: Uint8Array, channels: number): Uint8Array {
  if (channels === 3) return data;
  const isGrey = channels < 3;
  const hasOpacity = channels % 2 === 0;
  const pixels = data.length / channels;
  const result = new Uint8Array(3 * pixels);
  for (let pixel = 0; pixel < pixels; pixel++) {
    const at = pixel * channels;
    const opacity = hasOpacity ? data[at + channels - 1]! : 255;
    for (let channel = 0; channel < 3; channel++) {
      const value = data[at + (isGrey ? 0 : channel)]!;
      result[3 * pixel + channel] = per255(value * opacity + 255 * (255 - opacity));
    }
  }
  return result;
}

/** @throws TunesmithError (data) for another kind of file, one too large, and one cut off */
async function checkHead(path: string, { format, width, height }: Metadata): Promise<void> {
  if (!(format in ENDS)) throw notAnImage(path, `a file of the kind ${format}`);
  if (width * height > MOST_PIXELS)
    throw new TunesmithError("data", {
      where: path,
      rule: `an image has at most ${Math.floor(MOST_PIXELS / 1e6)} million pixels`,
      seen: `${width} × ${height} pixels`,
      fix: "scale it down: models look at 4096 pixels a side at most",
    });
  const end = ENDS[format];
  if (end && !(await readFile(path)).includes(end))
    throw notAnImage(path, `a ${format.toUpperCase()} without its end`);
}

type Sharp = typeof import("sharp").default;

async function reading<Result>(
  path: string,
  read: (sharp: Sharp) => Promise<Result>,
): Promise<Result> {
  const sharp = await loadSharp(path);
  try {
    return await read(sharp);
  } catch (cause) {
    throw notAnImage(path, (cause as Error).message.split("\n")[0]!, cause);
  }
}

const notAnImage = (path: string, seen: string, cause?: unknown) =>
  new TunesmithError(
    "data",
    {
      where: path,
      rule: "an image is a whole file of a known kind (PNG, JPEG, WebP, GIF, TIFF, AVIF)",
      seen,
      fix: "write the file again, or delete the record",
    },
    { cause },
  );

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
