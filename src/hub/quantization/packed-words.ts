// Whole numbers of a few bits in 32-bit words: GPTQ writes them one behind the other, AWQ shuffles each
// eight of them. Layouts: `QuantLinear` of AutoGPTQ and GPTQModel, `WQLinear_GEMM` of AutoAWQ.

import type { PackedLayout } from "./packed-layout.ts";

/** Which four bits of AWQ's words, the lowest first, hold each of eight neighbours. */
const AWQ_PLACES = [0, 4, 1, 5, 2, 6, 3, 7];

const awqPlace = (index: number) => (index & ~7) + AWQ_PLACES[index & 7]!;

/** The number at a place in a stream of words; each word lies `stride` behind the last. */
function numberAt(
  words: Int32Array,
  bits: number,
  first: number,
  stride: number,
  place: number,
): number {
  const bit = place * bits;
  const at = first + (bit >>> 5) * stride;
  const shift = bit & 31;
  const upper = shift + bits > 32 ? words[at + stride]! << (32 - shift) : 0;
  return ((words[at]! >>> shift) | upper) & (2 ** bits - 1);
}

/** Reads the code of an input and an output of a matrix [out, in]. */
export function codesIn(
  words: Int32Array,
  { method, bits }: PackedLayout,
  [outputs]: readonly [number, number],
): (input: number, output: number) => number {
  const rowWords = (outputs * bits) / 32;
  return method === "gptq"
    ? (input, output) => numberAt(words, bits, output, outputs, input)
    : (input, output) => numberAt(words, bits, input * rowWords, 1, awqPlace(output));
}

/** The zero point of every output in every group, [out, groups]. */
export function zerosIn(
  words: Int32Array,
  { method, bits, zeroOffset }: PackedLayout,
  outputs: number,
  groups: number,
): Uint8Array {
  const rowWords = words.length / groups;
  const zeros = new Uint8Array(outputs * groups);
  for (let group = 0; group < groups; group++)
    for (let output = 0; output < outputs; output++) {
      const place = method === "gptq" ? output : awqPlace(output);
      const stored = numberAt(words, bits, group * rowWords, 1, place);
      // Less 1 in as many bits: a zero point of 0 was stored as the largest number.
      zeros[output * groups + group] = (stored + zeroOffset) & (2 ** bits - 1);
    }
  return zeros;
}
