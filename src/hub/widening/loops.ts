// The loops that widen stored numbers to float32, 16 bytes at a time, as vector code (decision 4). They
// compute what plain float32 arithmetic would, bit for bit.

import { FOUR_BIT_CODES } from "../quantization/four-bit.ts";
import {
  type Code,
  defineRoutine,
  i32,
  type Routine,
  repeatWhileLess,
  type Variable,
  v128,
} from "./assembler.ts";

/** How numbers are stored: in blocks that share a scale, or as 16-bit floats. */
export type StoredKind = "nf4" | "fp4" | "int4" | "int8" | "F16" | "BF16";

export interface Loop {
  /** Takes `LOOP_PARAMETERS`. */
  readonly routine: Routine;
  readonly numbersPerByte: number;
  /** Floats that a block has beside its numbers: a scale, of int4 a zero point too. */
  readonly floatsPerBlock: number;
}

/**
 * From bytes at `source`, before `end`, to floats at `target`; every `blockBytes` of them have floats of
 * their own, at `scales`. The last block is always done as a whole, and up to 15 bytes more.
 */
const LOOP_PARAMETERS = ["source", "end", "target", "scales", "blockBytes"] as const;

/** What makes floats of 16 bytes. */
type Body = (step: {
  readonly bytes: Code;
  /** The block's scale, four times. */
  readonly scale: Code;
  /** What stands for 0 in the block, four times, where blocks have such. */
  readonly zero: Code;
  readonly constants: readonly Code[];
  /** Computes a value that is used more than once. */
  readonly keep: (value: Code) => Code;
  /** Writes the next four floats. */
  readonly emit: (value: Code) => void;
}) => void;

const HALVES = [0, 1] as const;
const { and, or, xor, interleave, multiplyFloats, shiftLeft32 } = v128;

/** Two codes a byte, the upper half first: each code picks the four bytes of its value one by one. */
const fourBit: Body = ({ bytes, scale, constants: [lowerHalf, ...planes], keep, emit }) => {
  const upper = keep(v128.shiftBytesRight(bytes, i32.constant(4)));
  const lower = keep(and(bytes, lowerHalf!));
  for (const eight of HALVES) {
    const codes = keep(interleave(1, eight, upper, lower));
    const [first, second, third, fourth] = planes.map((plane) => keep(v128.pick(plane, codes)));
    for (const four of HALVES) {
      const low = keep(interleave(1, four, first!, second!));
      const high = keep(interleave(1, four, third!, fourth!));
      for (const two of HALVES) emit(multiplyFloats(interleave(2, two, low, high), scale));
    }
  }
};

/** Two codes a byte, the lower half first, as whole numbers above or below their zero point. */
const int4: Body = ({ bytes, scale, zero, constants: [lowerHalf], keep, emit }) => {
  const lower = keep(and(bytes, lowerHalf!));
  const upper = keep(v128.shiftBytesRight(bytes, i32.constant(4)));
  for (const half of HALVES) {
    const codes = keep(interleave(1, half, lower, upper));
    for (const widen of [v128.widenLowBytes, v128.widenHighBytes]) {
      const eight = keep(widen(codes));
      for (const widenAgain of [v128.widenLow16, v128.widenHigh16])
        emit(multiplyFloats(v128.subtractFloats(v128.toFloats(widenAgain(eight)), zero), scale));
    }
  }
};

const int8: Body = ({ bytes, scale, constants: [step], keep, emit }) => {
  for (const widen of [v128.widenLowBytes, v128.widenHighBytes]) {
    const eight = keep(widen(bytes));
    for (const widenAgain of [v128.widenLow16, v128.widenHigh16])
      emit(multiplyFloats(multiplyFloats(v128.toFloats(widenAgain(eight)), scale), step!));
  }
};

/**
 * Exponent and fraction in float32's places are 2^112 too small, in subnormal numbers too; infinity and
 * NaN lack the upper bits of their exponent.
 */
const float16: Body = ({ bytes, constants, keep, emit }) => {
  const [magnitudeBits, power, largestFinite, exponentBits] = constants;
  for (const widen of [v128.widenLowUnsigned16, v128.widenHighUnsigned16]) {
    const half = keep(widen(bytes));
    const magnitude = keep(and(half, magnitudeBits!));
    const scaled = multiplyFloats(shiftLeft32(magnitude, i32.constant(13)), power!);
    const beyond = and(v128.isGreater32(magnitude, largestFinite!), exponentBits!);
    const sign = shiftLeft32(xor(half, magnitude), i32.constant(16));
    emit(or(or(scaled, beyond), sign));
  }
};

const bfloat16: Body = ({ bytes, constants: [zero], emit }) => {
  for (const half of HALVES) emit(interleave(2, half, zero!, bytes));
};

/** The 16 values byte by byte: all their first bytes, all their second ones, and so on. */
function planes(values: Float32Array): Uint8Array[] {
  const bytes = new Uint8Array(values.buffer, values.byteOffset, values.byteLength);
  return [0, 1, 2, 3].map((plane) => Uint8Array.from(values, (_, i) => bytes[4 * i + plane]!));
}

const word = (value: number) => new Uint8Array(new Uint32Array(4).fill(value).buffer);
const float = (value: number) => new Uint8Array(new Float32Array(4).fill(value).buffer);

/** The loops, and the constants that they expect in memory from address 0 on. */
export function createLoops(): {
  readonly loops: Readonly<Record<StoredKind, Loop>>;
  readonly constants: Uint8Array;
} {
  const all: Uint8Array[] = [];
  const define = (body: Body, constants: readonly Uint8Array[], floatsPerBlock = 1): Loop => {
    const addresses = constants.map((constant) => 16 * (all.push(constant) - 1));
    return defineLoop(body, addresses, floatsPerBlock);
  };
  const lowerHalf = word(0x0f0f0f0f);
  const loops = {
    nf4: define(fourBit, [lowerHalf, ...planes(FOUR_BIT_CODES.nf4)]),
    fp4: define(fourBit, [lowerHalf, ...planes(FOUR_BIT_CODES.fp4)]),
    int4: define(int4, [lowerHalf], 2),
    // 1 / 127 as bitsandbytes writes it.
    int8: define(int8, [float(0.007874015718698502)]),
    F16: define(float16, [0x7fff, 0x77800000, 0x7bff, 0x7f800000].map(word)),
    BF16: define(bfloat16, [word(0)]),
  };
  return { loops, constants: Uint8Array.from(all.flatMap((constant) => [...constant])) };
}

/** Constants are loaded once: V8 builds one that is part of the code anew at each use. */
function defineLoop(
  body: Body,
  constantAddresses: readonly number[],
  floatsPerBlock: number,
): Loop {
  let written = 0;
  const routine = defineRoutine(LOOP_PARAMETERS, (local, parameters) => {
    const { source, end, target, scales, blockBytes } = parameters;
    const constants = constantAddresses.map(() => local("v128"));
    const ofBlock = Array.from({ length: floatsPerBlock }, () => local("v128"));
    const [bytes, blockEnd] = [local("v128"), local("i32")];
    const statements: Code[] = [];
    body({
      bytes: bytes.get,
      scale: ofBlock[0]!.get,
      zero: ofBlock.at(-1)!.get,
      constants: constants.map(({ get }) => get),
      keep(value) {
        const kept = local("v128");
        statements.push(kept.set(value));
        return kept.get;
      },
      emit(value) {
        statements.push(v128.store(target.get, value, written));
        written += 16;
      },
    });
    const advance = (address: Variable, by: number) =>
      address.set(i32.add(address.get, i32.constant(by)));
    // How far the last 16 bytes reached into the next block.
    const excess = i32.subtract(source.get, blockEnd.get);
    return [
      ...constants.map((constant, i) =>
        constant.set(v128.load(i32.constant(constantAddresses[i]!))),
      ),
      repeatWhileLess(source, end, [
        ...ofBlock.flatMap((each) => [each.set(v128.load32Splat(scales.get)), advance(scales, 4)]),
        blockEnd.set(i32.add(source.get, blockBytes.get)),
        repeatWhileLess(source, blockEnd, [
          bytes.set(v128.load(source.get)),
          ...statements,
          advance(source, 16),
          advance(target, written),
        ]),
        target.set(i32.subtract(target.get, i32.multiply(excess, i32.constant(written / 16)))),
        source.set(blockEnd.get),
      ]),
    ];
  });
  return { routine, numbersPerByte: written / 64, floatsPerBlock };
}
