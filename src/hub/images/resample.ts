// Scaling images as Pillow does, to the last digit: models were trained on what it makes. Width first, then
// height, each output the sum of the inputs that a filter reaches, weighted in whole numbers of 22 binary
// digits behind the point and rounded to a byte in between (Pillow 11's `Resample.c` for 8-bit images; 13
// takes the height first on some sizes, and its pixels are other ones by some steps there).

/** Bytes of red, green and blue, pixel by pixel, line by line. */
export interface Pixels {
  readonly width: number;
  readonly height: number;
  readonly data: Uint8Array;
}

interface Filter {
  /** How far it reaches to each side, in pixels of the coarser of the two images. */
  readonly reach: number;
  readonly at: (x: number) => number;
}

const sinc = (x: number) => (x === 0 ? 1 : Math.sin(Math.PI * x) / (Math.PI * x));

/** By Pillow's numbers, which preprocessor_config.json has as `resample`. */
export const FILTERS: Readonly<Record<number, Filter>> = {
  1: { reach: 3, at: (x) => (x >= -3 && x < 3 ? sinc(x) * sinc(x / 3) : 0) },
  2: { reach: 1, at: (x) => Math.max(0, 1 - Math.abs(x)) },
  3: { reach: 2, at: (x) => cubic(Math.abs(x)) },
};

/** Keys (1981) with a = −1/2. */
function cubic(x: number): number {
  if (x < 1) return (1.5 * x - 2.5) * x * x + 1;
  return x < 2 ? ((-0.5 * x + 2.5) * x - 4) * x + 2 : 0;
}

const DIGITS = 22;
const CHANNELS = 3;

/** @param filter Pillow's number of it, one of `FILTERS` */
export function resample(image: Pixels, width: number, height: number, filter: number): Pixels {
  const chosen = FILTERS[filter]!;
  const wide = width === image.width ? image : alongLines(image, width, chosen);
  if (height === image.height) return wide;
  return turned(alongLines(turned(wide), height, chosen));
}

/** The inputs that one output is made of, and their weights in units of 2^-22. */
interface Window {
  readonly start: number;
  readonly weights: Int32Array;
}

function windows(from: number, to: number, { reach, at }: Filter): Window[] {
  const scale = from / to;
  const stretch = Math.max(scale, 1);
  const support = reach * stretch;
  return Array.from({ length: to }, (_, output) => {
    const centre = (output + 0.5) * scale;
    const start = Math.max(0, Math.trunc(centre - support + 0.5));
    const end = Math.min(from, Math.trunc(centre + support + 0.5));
    const values = Array.from({ length: end - start }, (_, i) =>
      at((i + start - centre + 0.5) * (1 / stretch)),
    );
    const sum = values.reduce((total, value) => total + value, 0);
    const whole = (value: number) => {
      const units = (sum === 0 ? value : value * (1 / sum)) * 2 ** DIGITS;
      return Math.trunc(units < 0 ? units - 0.5 : units + 0.5);
    };
    return { start, weights: Int32Array.from(values, whole) };
  });
}

function alongLines({ width: from, height, data }: Pixels, width: number, filter: Filter): Pixels {
  const scaled = new Uint8ClampedArray(width * height * CHANNELS);
  const ofColumns = windows(from, width, filter);
  for (let line = 0; line < height; line++)
    for (const [column, { start, weights }] of ofColumns.entries())
      for (let channel = 0; channel < CHANNELS; channel++) {
        let sum = 2 ** (DIGITS - 1);
        let at = (line * from + start) * CHANNELS + channel;
        for (let i = 0; i < weights.length; i++, at += CHANNELS) sum += data[at]! * weights[i]!;
        scaled[(line * width + column) * CHANNELS + channel] = sum >> DIGITS;
      }
  return { width, height, data: new Uint8Array(scaled.buffer) };
}

/** With lines as columns. */
function turned({ width, height, data }: Pixels): Pixels {
  const result = new Uint8Array(data.length);
  for (let line = 0; line < height; line++)
    for (let column = 0; column < width; column++)
      for (let channel = 0; channel < CHANNELS; channel++)
        result[(column * height + line) * CHANNELS + channel] =
          data[(line * width + column) * CHANNELS + channel]!;
  return { width: height, height: width, data: result };
}
