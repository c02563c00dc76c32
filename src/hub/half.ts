// 16-bit floating point, the way checkpoints store it: float16 (IEEE binary16) and bfloat16 (the upper
// half of a float32), decoded to and encoded from float32 in bulk.

import { widen } from "./widening/widening.ts";

export type HalfKind = "F16" | "BF16";

let float16Table: Float32Array | undefined;

/** The value of every one of the 65536 float16 bit patterns; 256 KiB, built at first use. */
function float16Values(): Float32Array {
  if (!float16Table) {
    const patterns = Uint16Array.from({ length: 0x10000 }, (_, bits) => bits);
    float16Table = new Float32Array(patterns.length);
    decodeHalf(patterns, "F16", float16Table);
  }
  return float16Table;
}

/** Decodes `source` into the first `source.length` elements of `target`. Exact: float32 holds every half. */
export function decodeHalf(source: Uint16Array, kind: HalfKind, target: Float32Array): void {
  if (target.length < source.length)
    throw new RangeError(`target holds ${target.length} of ${source.length} elements`);
  const { buffer, byteOffset, byteLength } = source;
  widen(kind, new Uint8Array(buffer, byteOffset, byteLength), target);
}

/**
 * Encodes `source` into the first `source.length` elements of `target`, rounding to nearest, ties to
 * even, as PyTorch does. Values beyond float16's range become infinite; NaN stays NaN.
 */
export function encodeHalf(source: Float32Array, kind: HalfKind, target: Uint16Array): void {
  if (target.length < source.length)
    throw new RangeError(`target holds ${target.length} of ${source.length} elements`);
  const bits = new Uint32Array(source.buffer, source.byteOffset, source.length);
  const encode = kind === "BF16" ? bfloat16Bits : float16Bits;
  for (let i = 0; i < source.length; i++) target[i] = encode(bits[i]!);
}

/** One float16 bit pattern as a number. */
export function float16ToNumber(bits: number): number {
  return float16Values()[bits]!;
}

function bfloat16Bits(bits: number): number {
  if ((bits & 0x7fffffff) > 0x7f800000) return (bits >>> 16) | 0x40; // NaN: keep it one
  // Half of the last kept place, less one where that place is even: ties go to even.
  return ((bits + 0x7fff + ((bits >>> 16) & 1)) >>> 16) & 0xffff;
}

const scratch = new Float32Array(1);
const scratchBits = new Uint32Array(scratch.buffer);

function float16Bits(bits: number): number {
  const sign = (bits >>> 16) & 0x8000;
  const magnitude = bits & 0x7fffffff;
  if (magnitude > 0x7f800000) return sign | 0x7e00;
  if (magnitude >= 0x477ff000) return sign | 0x7c00; // 65520 and above round to infinity
  if (magnitude < 0x38800000) {
    // Below 2^-14: adding 0.5 lines the fraction up with float16's subnormal step, 2^-24, and the
    // float32 store does the rounding.
    scratchBits[0] = magnitude;
    scratch[0] = scratch[0]! + 0.5;
    return sign | (scratchBits[0]! - 0x3f000000);
  }
  // Exponent bias 127 → 15, then the same rounding as above on 13 dropped bits.
  return sign | ((magnitude - 0x38000000 + 0xfff + ((magnitude >>> 13) & 1)) >>> 13);
}
