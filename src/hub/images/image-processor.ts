// From image files to what a model reads of them: scaled, split into squares beside a view of the whole, and
// normalised, as preprocessor_config.json says; and the text that stands for each in a prompt. Reference:
// Transformers' `Idefics3ImageProcessorPil` and `Idefics3Processor`.

import { join } from "node:path";
import { type Fault, TunesmithError } from "../../errors.ts";
import { isJsonObject, type JsonObject, readJsonObject } from "../json-file.ts";
import { NO_IMAGES } from "../tokenizers/chat-template.ts";
import { decodeImage, type ImageSize, imageSize } from "./decode-image.ts";
import { FILTERS, type Pixels, resample } from "./resample.ts";

export interface ImageProcessor {
  /** What a chat template writes for an image. */
  readonly placeholder: string;
  /** Reads the head of an image file; the rest when it is asked for. */
  open(path: string): Promise<OpenedImage>;
}

export interface OpenedImage {
  /** The text in the place of the placeholder. */
  readonly prompt: string;
  /** What a model reads, see `PixelValues` of a batch. */
  readonly pixelValues: {
    readonly shape: readonly number[];
    readonly data: () => Promise<Float32Array>;
  };
}

/** How images are prepared. */
export interface ImageSettings {
  /** Pixels of the longer side before it is split. */
  readonly longestEdge: number;
  /** Pixels of a side of the squares that the model reads. */
  readonly square: number;
  readonly splits: boolean;
  /** Pillow's number of the filter. */
  readonly filter: number;
  readonly rescaleFactor: number;
  /** Of red, green and blue. */
  readonly mean: readonly number[];
  readonly deviation: readonly number[];
  /** Image tokens of a square. */
  readonly tokensOfSquare: number;
}

const TYPES = /^(Idefics3|SmolVLM)ImageProcessor(Fast|Pil)?$/;
const PLACEHOLDER = NO_IMAGES.placeholder;
const AROUND = "<fake_token_around_image>";
/** No image is scaled beyond it. */
const LONGEST = 4096;

/**
 * The processor of a model folder; undefined where it has none.
 * @param tokensOf how many image tokens the model has for a square of so many pixels a side
 * @throws TunesmithError (checkpoint) for one that is not known, and settings that are not implemented
 */
export async function loadImageProcessor(
  folder: string,
  tokensOf: (square: number) => number,
): Promise<ImageProcessor | undefined> {
  const whole = (await readJsonObject(join(folder, "processor_config.json"))) ?? {};
  const [file, own] = isJsonObject(whole.image_processor)
    ? ["processor_config.json", whole.image_processor]
    : ["preprocessor_config.json", await readJsonObject(join(folder, "preprocessor_config.json"))];
  if (!own) return undefined;
  const settings = readSettings(own, join(folder, file));
  return createImageProcessor({ ...settings, tokensOfSquare: tokensOf(settings.square) });
}

/** See `loadImageProcessor`. */
export function createImageProcessor(settings: ImageSettings): ImageProcessor {
  // Images have few forms, and a prompt of a large one is long: all of a form share theirs.
  const prompts = new Map<string, string>();
  const promptFor = (plan: Plan) => {
    const form = `${plan.lines} × ${plan.columns}`;
    const prompt = prompts.get(form) ?? promptOf(plan, settings);
    prompts.set(form, prompt);
    return prompt;
  };
  return {
    placeholder: PLACEHOLDER,
    async open(path) {
      const plan = planOf(await imageSize(path), settings);
      const { square } = settings;
      const shape = [plan.lines * plan.columns + 1, 3, square, square];
      const data = async () => {
        const values = toPixelValues(await decodeImage(path), settings);
        if (values.length !== shape.reduce((size, length) => size * length, 1)) throw changed(path);
        return values;
      };
      return { prompt: promptFor(plan), pixelValues: { shape, data } };
    },
  };
}

const changed = (path: string) =>
  new TunesmithError("data", {
    where: path,
    rule: "a file stays what it is while it is used",
    seen: "an image of another size than before",
    fix: "start again, and leave the file alone meanwhile",
  });

/** @throws TunesmithError (checkpoint) with everything that is not implemented */
export function readSettings(
  json: JsonObject,
  where: string,
): Omit<ImageSettings, "tokensOfSquare"> {
  const faults: Fault[] = [];
  const expect = (key: string, holds: boolean, rule: string) => {
    if (holds) return;
    const seen = JSON.stringify(json[key]) ?? "no such key";
    faults.push({
      where: `${where}: ${key}`,
      rule,
      seen,
      fix: "use a model of these, or correct it",
    });
  };
  const edge = (key: string, usual: number) => {
    const value = json[key] ?? { longest_edge: usual };
    const length = isJsonObject(value) ? value.longest_edge : undefined;
    const isLength = typeof length === "number" && Number.isInteger(length) && length > 0;
    expect(key, isLength, "has longest_edge, a number of pixels");
    return isLength ? length : usual;
  };
  const colours = (key: string) => {
    const value = json[key] ?? [0.5, 0.5, 0.5];
    const isList = Array.isArray(value) && value.length === 3 && value.every(Number.isFinite);
    expect(key, isList, "has a number for red, green and blue");
    return isList ? (value as number[]) : [0.5, 0.5, 0.5];
  };
  const number = (key: string, usual: number) => {
    const value = json[key] ?? usual;
    expect(key, typeof value === "number" && value > 0, "is a number above 0");
    return Number(value);
  };
  const type = json.image_processor_type ?? "Idefics3ImageProcessor";
  expect("image_processor_type", TYPES.test(String(type)), "is that of Idefics3 or SmolVLM");
  for (const key of ["do_resize", "do_rescale", "do_normalize", "do_convert_rgb"])
    expect(key, json[key] !== false, "is true");
  const filter = number("resample", 1);
  const known = Object.keys(FILTERS).join(", ");
  expect("resample", filter in FILTERS, `is a filter of Pillow's: one of ${known}`);
  const settings = {
    longestEdge: edge("size", 4 * 364),
    square: edge("max_image_size", 364),
    splits: json.do_image_splitting !== false,
    filter,
    rescaleFactor: number("rescale_factor", 1 / 255),
    mean: colours("image_mean"),
    deviation: colours("image_std"),
  };
  if (faults.length > 0) throw new TunesmithError("checkpoint", faults);
  return settings;
}

/** Sizes that an image is scaled to one after another, and the squares it is cut into; none for a whole one. */
interface Plan {
  readonly sizes: readonly ImageSize[];
  readonly lines: number;
  readonly columns: number;
}

export function planOf(image: ImageSize, settings: ImageSettings): Plan {
  const { longestEdge, square, splits } = settings;
  const scaled = within(withLongest(image, longestEdge), LONGEST);
  const single = { width: square, height: square };
  if (!splits) return { sizes: [scaled, single], lines: 0, columns: 0 };
  const filled = inSquares(scaled, square);
  const [lines, columns] = [filled.height / square, filled.width / square];
  const isWhole = lines === 1 && columns === 1;
  return isWhole
    ? { sizes: [scaled, filled], lines: 0, columns: 0 }
    : { sizes: [scaled, filled], lines, columns };
}

/** The longer side of so many pixels, the other even. */
function withLongest({ width, height }: ImageSize, longest: number): ImageSize {
  const aspect = width / height;
  const even = (length: number) => Math.max(1, length % 2 === 0 ? length : length + 1);
  return width >= height
    ? { width: longest, height: even(Math.trunc(longest / aspect)) }
    : { height: longest, width: even(Math.trunc(longest * aspect)) };
}

/** No side of more pixels than so many. */
function within({ width, height }: ImageSize, most: number): ImageSize {
  if (Math.max(width, height) <= most) return { width, height };
  const aspect = width / height;
  return width >= height
    ? { width: most, height: Math.max(1, Math.trunc(most / aspect)) }
    : { height: most, width: Math.max(1, Math.trunc(most * aspect)) };
}

/** Sides that are multiples of a square's: the longer one as near above as it can be. */
function inSquares({ width, height }: ImageSize, square: number): ImageSize {
  const aspect = width / height;
  const whole = (length: number) => Math.ceil(length / square) * square;
  return width >= height
    ? { width: whole(width), height: whole(Math.trunc(whole(width) / aspect)) }
    : { height: whole(height), width: whole(Math.trunc(whole(height) * aspect)) };
}

/** The text of an image: each square with its place, then the whole. */
export function promptOf({ lines, columns }: Plan, { tokensOfSquare }: ImageSettings): string {
  const tokens = PLACEHOLDER.repeat(tokensOfSquare);
  const numbers = (count: number) => Array.from({ length: count }, (_, i) => i + 1);
  const squares = numbers(lines).map((line) => {
    const row = numbers(columns).map((column) => `${AROUND}<row_${line}_col_${column}>${tokens}`);
    return `${row.join("")}\n`;
  });
  const gap = lines > 0 ? "\n" : "";
  return `${squares.join("")}${gap}${AROUND}<global-img>${tokens}${AROUND}`;
}

/** [squares and the whole, 3, square, square] */
export function toPixelValues(image: Pixels, settings: ImageSettings): Float32Array {
  const { square, filter, rescaleFactor, mean, deviation } = settings;
  const { sizes, lines, columns } = planOf(image, settings);
  const scaled = sizes.reduce<Pixels>(
    (pixels, { width, height }) => resample(pixels, width, height, filter),
    image,
  );
  const whole = lines > 0 ? resample(scaled, square, square, filter) : scaled;
  // A byte has 256 values: what becomes of each is worked out once, in single precision as there.
  const values = mean.map((centre, channel) =>
    Float32Array.from({ length: 256 }, (_, byte) =>
      Math.fround(
        Math.fround(Math.fround(byte * rescaleFactor) - Math.fround(centre)) /
          Math.fround(deviation[channel]!),
      ),
    ),
  );
  const size = square ** 2;
  const result = new Float32Array((lines * columns + 1) * 3 * size);
  const put = (from: Pixels, top: number, left: number, index: number) => {
    for (let channel = 0; channel < 3; channel++)
      for (let line = 0; line < square; line++)
        for (let column = 0; column < square; column++) {
          const byte = from.data[((top + line) * from.width + left + column) * 3 + channel]!;
          result[(index * 3 + channel) * size + line * square + column] = values[channel]![byte]!;
        }
  };
  for (let line = 0; line < lines; line++)
    for (let column = 0; column < columns; column++)
      put(scaled, line * square, column * square, line * columns + column);
  put(whole, 0, 0, lines * columns);
  return result;
}
