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
  return height === image.height ? wide : alongColumns(wide, height, chosen);
}

/** For each output, the inputs that it is made of: from `starts` on so many, with weights in units of 2^-22. */
interface Windows {
  readonly starts: Int32Array;
  readonly counts: Int32Array;
  /** [outputs, most] */
  readonly weights: Int32Array;
  readonly most: number;
}

function windows(from: number, to: number, { reach, at }: Filter): Windows {
  const scale = from / to;
  const stretch = Math.max(scale, 1);
  const support = reach * stretch;
  const most = Math.ceil(support) * 2 + 1;
  const made = {
    starts: new Int32Array(to),
    counts: new Int32Array(to),
    weights: new Int32Array(to * most),
    most,
  };
  for (let output = 0; output < to; output++) {
    const centre = (output + 0.5) * scale;
    const start = Math.max(0, Math.trunc(centre - support + 0.5));
    const end = Math.min(from, Math.trunc(centre + support + 0.5));
    const values = Array.from({ length: end - start }, (_, i) =>
      at((i + start - centre + 0.5) * (1 / stretch)),
    );
    const sum = values.reduce((total, value) => total + value, 0);
    made.starts[output] = start;
    made.counts[output] = values.length;
    for (const [i, value] of values.entries()) {
      const units = (sum === 0 ? value : value * (1 / sum)) * 2 ** DIGITS;
      made.weights[output * most + i] = Math.trunc(units < 0 ? units - 0.5 : units + 0.5);
    }
  }
  return made;
}

const HALF = 2 ** (DIGITS - 1);

function alongLines({ width: from, height, data }: Pixels, width: number, filter: Filter): Pixels {
  const scaled = new Uint8ClampedArray(width * height * CHANNELS);
  const { starts, counts, weights, most } = windows(from, width, filter);
  let to = 0;
  for (let line = 0; line < height; line++)
    for (let column = 0; column < width; column++) {
      let at = (line * from + starts[column]!) * CHANNELS;
      const first = column * most;
      const end = first + counts[column]!;
      let [red, green, blue] = [HALF, HALF, HALF];
      for (let i = first; i < end; i++) {
        const weight = weights[i]!;
        red += data[at++]! * weight;
        green += data[at++]! * weight;
        blue += data[at++]! * weight;
      }
      scaled[to++] = red >> DIGITS;
      scaled[to++] = green >> DIGITS;
      scaled[to++] = blue >> DIGITS;
    }
  return { width, height, data: new Uint8Array(scaled.buffer) };
}

function alongColumns(
  { width, height: from, data }: Pixels,
  height: number,
  filter: Filter,
): Pixels {
  const stride = width * CHANNELS;
  const scaled = new Uint8ClampedArray(stride * height);
  const { starts, counts, weights, most } = windows(from, height, filter);
  const sums = new Int32Array(stride);
  for (let line = 0; line < height; line++) {
    sums.fill(HALF);
    for (let i = 0; i < counts[line]!; i++) {
      const weight = weights[line * most + i]!;
      const at = (starts[line]! + i) * stride;
      for (let x = 0; x < stride; x++) sums[x]! += data[at + x]! * weight;
    }
    for (let x = 0; x < stride; x++) scaled[line * stride + x] = sums[x]! >> DIGITS;
  }
  return { width, height, data: new Uint8Array(scaled.buffer) };
}
