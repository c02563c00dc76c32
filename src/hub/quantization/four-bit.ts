// Four-bit weights as bitsandbytes has them: blocks of numbers, each block scaled by its largest
// magnitude, each number the nearest of 16 codes, two codes a byte. Bit for bit what its CPU kernels
// compute (`bitsandbytes/backends/default/ops.py`, version 0.50).

export type FourBitType = "nf4" | "fp4";

/** The value of each code, where the largest magnitude of a block is 1. */
export const FOUR_BIT_CODES: Readonly<Record<FourBitType, Float32Array>> = {
  // Quantiles of the normal distribution (Dettmers et al. 2023, appendix E).
  nf4: Float32Array.of(
    ...[-1, -0.6961928009986877, -0.5250730514526367, -0.39491748809814453],
    ...[-0.28444138169288635, -0.18477343022823334, -0.09105003625154495, 0],
    ...[0.07958029955625534, 0.16093020141124725, 0.24611230194568634, 0.33791524171829224],
    ...[0.44070982933044434, 0.5626170039176941, 0.7229568362236023, 1],
  ),
  // Sign, two bits of exponent, one of fraction; divided by the largest, 12. Zero has two signs.
  fp4: Float32Array.from(
    [0, 0.0625, 8, 12, 4, 6, 2, 3, -0, -0.0625, -8, -12, -4, -6, -2, -3],
    (value) => value / 12,
  ),
};

/** Sizes of a block that bitsandbytes knows. */
export const BLOCK_SIZES = [32, 64, 128, 256, 512, 1024, 2048, 4096] as const;

/** The smallest divisor, so that a block of zeros stays one. */
const LEAST_SCALE = Math.fround(1e-38);

/** How numbers in [-1, 1] find their code. */
interface Search {
  /** Between neighbouring codes: numbers above bounds[i] lie in interval i + 1 or beyond. */
  readonly bounds: Float32Array;
  /** The code of each interval. */
  readonly codes: Uint8Array;
  /** For each of 2048 equal parts of [-1, 1], in which at most one bound lies: its first interval. */
  readonly first: Uint8Array;
}

const HALF_PARTS = 1024;
const searches = new Map<FourBitType, Search>();

function searchOf(type: FourBitType): Search {
  const known = searches.get(type);
  if (known) return known;
  const values = FOUR_BIT_CODES[type];
  // Of FP4's two zeros the negative one stands above, as in the reference.
  const codes = Uint8Array.from(values.keys()).sort((a, b) => values[a]! - values[b]! || a - b);
  const bounds = new Float32Array(16).fill(Number.POSITIVE_INFINITY);
  for (let i = 0; i < 15; i++)
    bounds[i] = Math.fround(values[codes[i]!]! + values[codes[i + 1]!]!) / 2;
  const first = Uint8Array.from({ length: 2 * HALF_PARTS + 1 }, (_, part) =>
    bounds.findIndex((bound) => !(bound < part / HALF_PARTS - 1)),
  );
  const search = { bounds, codes, first };
  searches.set(type, search);
  return search;
}

/**
 * Quantises numbers in blocks.
 * @returns two codes a byte, the first one in the upper half, and the largest magnitude of each block
 */
export function quantizeFourBit(
  data: Float32Array,
  type: FourBitType,
  blockSize: number,
): { packed: Uint8Array; scales: Float32Array } {
  const { bounds, codes, first } = searchOf(type);
  const packed = new Uint8Array(Math.ceil(data.length / 2));
  const scales = new Float32Array(Math.ceil(data.length / blockSize));
  const codeOf = (value: number): number => {
    const within = Math.max(-1, Math.min(1, value));
    const interval = first[((within + 1) * HALF_PARTS) | 0]!;
    return codes[within > bounds[interval]! ? interval + 1 : interval]!;
  };
  for (let block = 0; block < scales.length; block++) {
    const start = block * blockSize;
    const end = Math.min(start + blockSize, data.length);
    let largest = 0;
    for (let i = start; i < end; i++) {
      const magnitude = Math.abs(data[i]!);
      if (magnitude > largest) largest = magnitude;
    }
    const divisor = Math.max(largest, LEAST_SCALE);
    if (end - start === blockSize) {
      scales[block] = largest;
      const factor = Math.fround(1 / divisor);
      for (let i = start; i < end; i += 2)
        packed[i >> 1] =
          (codeOf(Math.fround(data[i]! * factor)) << 4) |
          codeOf(Math.fround(data[i + 1]! * factor));
    } else {
      // In a block that is cut short the reference divides, and an odd end is filled up with zero.
      scales[block] = divisor;
      const at = (i: number) => codeOf(i < end ? Math.fround(data[i]! / divisor) : 0);
      for (let i = start; i < end; i += 2) packed[i >> 1] = (at(i) << 4) | at(i + 1);
    }
  }
  return { packed, scales };
}
