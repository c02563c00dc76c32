// The rows of images among those of tokens: what a picture's tokens give way to, in their order.

import { TunesmithError } from "../errors.ts";
import type { BoundArchitecture } from "../models/index.ts";
import type { Batch } from "./batch.ts";
import { imageRows } from "./images.ts";

/** Visits the rows of image tokens, with the number of each. */
function forEachImageRow(
  tokenIds: readonly number[],
  token: number | undefined,
  visit: (row: number, index: number) => void,
): void {
  let index = 0;
  for (let row = 0; row < tokenIds.length; row++) if (tokenIds[row] === token) visit(row, index++);
}

/** Writes `states` [image rows, width] over the rows of image tokens in `x`. */
export function putImageStates(
  x: Float32Array,
  states: Float32Array,
  tokenIds: readonly number[],
  token: number | undefined,
): void {
  const width = x.length / tokenIds.length;
  forEachImageRow(tokenIds, token, (row, index) =>
    x.set(states.subarray(index * width, (index + 1) * width), row * width),
  );
}

/** The gradient of `putImageStates`: moves those rows out of `gradient`. */
export function takeImageGradients(
  gradient: Float32Array,
  target: Float32Array,
  tokenIds: readonly number[],
  token: number | undefined,
): void {
  const width = gradient.length / tokenIds.length;
  forEachImageRow(tokenIds, token, (row, index) => {
    const own = gradient.subarray(row * width, (row + 1) * width);
    target.set(own, index * width);
    own.fill(0);
  });
}

/**
 * @throws TunesmithError (data, shape) for images that the model has no place for, are not as it reads them,
 *   or make other than the rows that the batch has tokens for
 */
export function checkImages(
  { inputIds, pixelValues }: Pick<Batch, "inputIds" | "pixelValues">,
  { images }: BoundArchitecture,
): void {
  // As in Transformers, tokens of images are tokens like others where there are no images.
  if (!pixelValues) return;
  const where = "batch: pixelValues";
  if (!images)
    throw new TunesmithError("data", {
      where,
      rule: "images are for models that look at them",
      seen: "a model that reads text alone",
      fix: "leave pixelValues out, or load an Idefics3 or a SmolVLM",
    });
  for (const { shape, data } of pixelValues) {
    const [, channels] = shape;
    const size = shape.reduce((product, length) => product * length, 1);
    const isFilled = typeof data === "function" || data.length === size;
    if (shape.length === 4 && channels === images.channels && size > 0 && isFilled) continue;
    throw new TunesmithError("shape", {
      where,
      rule: `a picture is [images, ${images.channels}, height, width], and its data fills that`,
      seen: `[${shape.join(", ")}]${isFilled ? "" : ` with ${data.length} numbers`}`,
      fix: "pass the images of one size that a picture was split into",
    });
  }
  const rows = imageRows(pixelValues, images);
  const tokens = inputIds.flat().filter((id) => id === images.token).length;
  if (rows === tokens) return;
  throw new TunesmithError("data", {
    where,
    rule: `the rows have a token ${images.token} for every row that their pictures make`,
    seen: `${tokens} tokens for ${pixelValues.length} pictures of ${rows} rows`,
    fix: "repeat the image token as often as the model's processor does, and pass every picture",
  });
}
