// Double quantisation: the scales of 4-bit blocks, less their mean, in 8 bits of the dynamic data type
// (Dettmers et al. 2023, section 3; the type: Dettmers 2015). As bitsandbytes' CPU kernel has it.

/** Scales that share one scale of their own. */
const NESTED_BLOCK = 256;

/** Scales of blocks, themselves quantised. */
export interface NestedScales {
  /** One of the map's values for each block. */
  readonly codes: Uint8Array;
  /** The values of the 256 codes, rising. */
  readonly map: Float32Array;
  /** Scale for each `blockSize` codes. */
  readonly scales: Float32Array;
  readonly blockSize: number;
  /** Added to all of them. */
  readonly offset: number;
}

let dynamicValues: Float32Array | undefined;

/**
 * The signed 8-bit dynamic data type: powers of ten from 1e-6 to 1, the larger ones cut finer, with
 * zero and one.
 */
export function dynamicMap(): Float32Array {
  if (dynamicValues) return dynamicValues;
  const values = [0, 1];
  for (let exponent = 0; exponent < 7; exponent++) {
    const items = 2 ** exponent;
    const power = Math.fround(10 ** (exponent - 6));
    const edges = Float32Array.from({ length: items + 1 }, (_, i) => edge(i, items));
    for (let i = 0; i < items; i++) {
      const middle = Math.fround(edges[i]! + edges[i + 1]!) / 2;
      values.push(Math.fround(power * middle), -Math.fround(power * middle));
    }
  }
  dynamicValues = Float32Array.from(values).sort();
  return dynamicValues;
}

/** Point i of `items` equal parts of [0.1, 1], counted from the nearer end in float32, as torch does. */
function edge(i: number, items: number): number {
  const start = Math.fround(0.1);
  const step = Math.fround(Math.fround(1 - start) / items);
  const half = (items + 1) / 2;
  return i < half ? start + step * i : 1 - step * (items - i);
}

/** The reference finds codes by a table over 65536 parts of [-1, 1] rather than by comparing. */
const TABLE_SCALE = 32767.5;
let nearestCodes: Uint8Array | undefined;

function nearestTable(): Uint8Array {
  if (nearestCodes) return nearestCodes;
  const map = dynamicMap();
  let code = 0;
  nearestCodes = Uint8Array.from({ length: 65536 }, (_, part) => {
    const value = part / TABLE_SCALE - 1;
    while (code < 255 && value - map[code]! > map[code + 1]! - value) code++;
    return code;
  });
  return nearestCodes;
}

/**
 * Quantises the scales of blocks.
 * @param offset what is taken off; default: their mean, exactly rounded (torch's own mean differs from
 *   machine to machine in its last bit)
 */
export function nestScales(scales: Float32Array, offset = mean(scales)): NestedScales {
  const table = nearestTable();
  const codes = new Uint8Array(scales.length);
  const nested = new Float32Array(Math.ceil(scales.length / NESTED_BLOCK));
  for (let block = 0; block < nested.length; block++) {
    const start = block * NESTED_BLOCK;
    const end = Math.min(start + NESTED_BLOCK, scales.length);
    let largest = 0;
    for (let i = start; i < end; i++)
      largest = Math.max(largest, Math.abs(Math.fround(scales[i]! - offset)));
    nested[block] = largest;
    if (largest === 0) continue;
    const factor = Math.fround(1 / largest);
    for (let i = start; i < end; i++) {
      const shifted = Math.fround(Math.fround(Math.fround(scales[i]! - offset) * factor) + 1);
      const place = Math.fround(Math.fround(shifted * TABLE_SCALE) + 0.5);
      codes[i] = table[Math.min(65535, Math.max(0, Math.trunc(place)))]!;
    }
  }
  return { codes, map: dynamicMap(), scales: nested, blockSize: NESTED_BLOCK, offset };
}

function mean(values: Float32Array): number {
  return Math.fround(values.reduce((sum, value) => sum + value, 0) / values.length);
}

/** The scales of blocks from `first` on, until `target` is full or there are no more. */
export function unnestScales(nested: NestedScales, first: number, target: Float32Array): void {
  const { codes, map, scales, blockSize, offset } = nested;
  const count = Math.min(target.length, codes.length - first);
  for (let i = 0; i < count; ) {
    const group = Math.floor((first + i) / blockSize);
    const scale = scales[group]!;
    const end = Math.min(count, (group + 1) * blockSize - first);
    for (; i < end; i++) target[i] = Math.fround(map[codes[first + i]!]! * scale) + offset;
  }
}
