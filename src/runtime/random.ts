// Random numbers that are the same on every machine and in every later release: a resumed run must
// shuffle, initialise and sample as the run it continues. Only integer operations and the exactly
// rounded ones of IEEE 754 (+ - * / sqrt) are used; Math.log and Math.cos may change with the engine.

import { TunesmithError } from "../errors.ts";

/** Safe integers and bigints of at most 64 bits; a list mixes several into one seed. */
export type Seed = number | bigint | readonly (number | bigint)[];

/** A stream of random numbers. */
export interface Random {
  /** An integer in [0, 2^32). */
  nextUint32(): number;
  /** A multiple of 2^-53 in [0, 1). */
  uniform(): number;
  /** An integer in [0, bound), without bias; `bound` is between 1 and 2^32. */
  below(bound: number): number;
  /** A draw from the normal distribution with mean 0 and variance 1. */
  normal(): number;
  /** Puts `array` in a random order, in place, and returns it. */
  shuffle<T>(array: T[]): T[];
  /**
   * A stream of its own for `label`. It depends on this stream's seed only, not on how many numbers
   * were drawn, so adding a use of randomness somewhere leaves all others as they were.
   */
  fork(label: string | number): Random;
}

/**
 * Starts the stream of a seed.
 *
 * The generator is xoshiro128** (Blackman and Vigna, "Scrambled linear pseudorandom number
 * generators", 2021); its state is filled by hashing the seed.
 *
 * @throws TunesmithError (config) for a seed that is not an integer of at most 64 bits.
 */
export function createRandom(seed: Seed): Random {
  const numbers = typeof seed === "object" ? seed : [seed];
  return createFromWords(numbers.flatMap(wordsOf));
}

/** The generator itself, from its four state words (not all zero). */
export function xoshiro128(state: readonly [number, number, number, number]): () => number {
  let [a, b, c, d] = state;
  return () => {
    const result = Math.imul(rotateLeft(Math.imul(b, 5), 7), 9) >>> 0;
    const shifted = b << 9;
    c ^= a;
    d ^= b;
    b ^= c;
    a ^= d;
    c ^= shifted;
    d = rotateLeft(d, 11);
    return result;
  };
}

const FORKED = 0x464f524b; // keeps fork("x") apart from a seed that happens to have the same words

function createFromWords(words: readonly number[]): Random {
  // A lane is never zero by construction, which xoshiro needs of at least one of the four.
  const nextUint32 = xoshiro128([
    hashWords(words, 1) | 1,
    hashWords(words, 2),
    hashWords(words, 3),
    hashWords(words, 4),
  ]);

  const uniform = () => {
    const high = nextUint32() >>> 5;
    const low = nextUint32() >>> 6;
    return (high * 2 ** 26 + low) / 2 ** 53;
  };

  const below = (bound: number) => {
    if (!Number.isInteger(bound) || bound < 1 || bound > 2 ** 32)
      throw new RangeError(`random: below(${bound}) needs an integer between 1 and 2^32`);
    const limit = 2 ** 32 - (2 ** 32 % bound);
    let draw = nextUint32();
    while (draw >= limit) draw = nextUint32();
    return draw % bound;
  };

  // Marsaglia's polar method; the second value is thrown away so that a stream has no hidden state.
  const normal = () => {
    for (;;) {
      const x = 2 * uniform() - 1;
      const y = 2 * uniform() - 1;
      const square = x * x + y * y;
      if (square > 0 && square < 1) return x * Math.sqrt((-2 * naturalLogarithm(square)) / square);
    }
  };

  const shuffle = <T>(array: T[]): T[] => {
    for (let last = array.length - 1; last > 0; last--) {
      const other = below(last + 1);
      const swapped = array[last] as T;
      array[last] = array[other] as T;
      array[other] = swapped;
    }
    return array;
  };

  const fork = (label: string | number) =>
    createFromWords([
      ...words,
      FORKED,
      ...(typeof label === "number" ? wordsOf(label) : wordsOfText(label)),
    ]);

  return { nextUint32, uniform, below, normal, shuffle, fork };
}

/** ln(x) for x in (0, 1) from exactly rounded operations alone; good to about 1e-15 relative. */
function naturalLogarithm(x: number): number {
  let mantissa = x;
  let exponent = 0;
  while (mantissa < Math.SQRT1_2) {
    mantissa *= 2;
    exponent--;
  }
  // ln m = 2 artanh((m - 1)/(m + 1)), whose series needs few terms for m in [1/sqrt 2, 1].
  const s = (mantissa - 1) / (mantissa + 1);
  const square = s * s;
  let series = 0;
  for (let power = 25; power >= 1; power -= 2) series = series * square + 1 / power;
  return 2 * s * series + exponent * Math.LN2;
}

function wordsOf(value: number | bigint): [number, number] {
  const valid =
    typeof value === "bigint"
      ? value >= -(2n ** 63n) && value < 2n ** 64n
      : Number.isSafeInteger(value);
  if (!valid)
    throw new TunesmithError("config", {
      where: "seed",
      rule: "a seed is an integer of at most 53 bits, or a bigint of at most 64",
      seen: String(value),
      fix: "use a whole number such as 42",
    });
  const bits = BigInt.asUintN(64, BigInt(value));
  return [Number(bits & 0xffffffffn), Number(bits >> 32n)];
}

function wordsOfText(text: string): number[] {
  return [
    text.length,
    ...Array.from({ length: text.length }, (_, index) => text.charCodeAt(index)),
  ];
}

function hashWords(words: readonly number[], lane: number): number {
  let hash = mix(Math.imul(lane, 0x9e3779b9));
  for (const word of words) hash = (mix(hash ^ word) + Math.imul(lane, 0x6a09e667)) | 0;
  return mix(hash ^ words.length);
}

/** The finaliser of MurmurHash3: every input bit reaches every output bit. */
function mix(word: number): number {
  let value = word;
  value = Math.imul(value ^ (value >>> 16), 0x85ebca6b);
  value = Math.imul(value ^ (value >>> 13), 0xc2b2ae35);
  return (value ^ (value >>> 16)) | 0;
}

function rotateLeft(word: number, count: number): number {
  return (word << count) | (word >>> (32 - count));
}
