// PyTorch's random numbers on the CPU, bit by bit: adapters whose frozen parts are not in their file
// (VeRA, FourierFT) name the seed alone, and the parts have to come out as PyTorch draws them.
// The generator is MT19937 (Matsumoto and Nishimura, "Mersenne Twister", 1998).

const SIZE = 624;
const SHIFT = 397;

/** The 32-bit numbers that `torch.Generator().manual_seed(seed)` gives. */
export function torchGenerator(seed: number): () => number {
  const state = new Uint32Array(SIZE);
  state[0] = seed;
  for (let i = 1; i < SIZE; i++) {
    const last = state[i - 1]! ^ (state[i - 1]! >>> 30);
    state[i] = Math.imul(1812433253, last) + i;
  }
  const renew = () => {
    for (let i = 0; i < SIZE; i++) {
      const mixed = (state[i]! & 0x80000000) | (state[(i + 1) % SIZE]! & 0x7fffffff);
      state[i] = state[(i + SHIFT) % SIZE]! ^ (mixed >>> 1) ^ (mixed & 1 ? 0x9908b0df : 0);
    }
  };
  let next = SIZE;
  return () => {
    if (next === SIZE) {
      renew();
      next = 0;
    }
    let value = state[next++]!;
    value ^= value >>> 11;
    value ^= (value << 7) & 0x9d2c5680;
    value ^= (value << 15) & 0xefc60000;
    return (value ^ (value >>> 18)) >>> 0;
  };
}

/**
 * `torch.empty(length).uniform_(low, high, generator=generator)`: 24 bits of each draw count, and the
 * result is rounded once.
 */
export function torchUniform(
  generator: () => number,
  length: number,
  low: number,
  high: number,
): Float32Array {
  const from = Math.fround(low);
  const range = Math.fround(Math.fround(high) - from);
  return Float32Array.from({ length }, () => ((generator() & 0xffffff) / 2 ** 24) * range + from);
}

/** The first `count` of `torch.randperm(length, generator=generator)`; `length` is below 2^32 / 20. */
export function torchPermutation(generator: () => number, length: number, count: number): number[] {
  // Only what was exchanged is kept: the rest of the list is in order.
  const exchanged = new Map<number, number>();
  const at = (place: number) => exchanged.get(place) ?? place;
  return Array.from({ length: count }, (_, place) => {
    const other = place + (place < length - 1 ? generator() % (length - place) : 0);
    const value = at(other);
    exchanged.set(other, at(place));
    return value;
  });
}

/**
 * `torch.randn(length, dtype=…)`, but for the last digits: Box and Muller's pairs lie eight places
 * apart in blocks of sixteen, and a block that is cut short is drawn anew from the end.
 * `length` is 16 or more; PyTorch draws fewer in another way.
 */
export function torchNormal(
  generator: () => number,
  length: number,
  dtype: "float32" | "float64",
): Float64Array {
  const draw = {
    float32: () => (generator() & 0xffffff) / 2 ** 24,
    float64: () => ((generator() & 0x1fffff) * 2 ** 32 + generator()) / 2 ** 53,
  }[dtype];
  const values = Float64Array.from({ length }, draw);
  const mix = (start: number) => {
    for (let i = start; i < start + 8; i++) {
      const radius = Math.sqrt(-2 * Math.log(1 - values[i]!));
      const angle = 2 * Math.PI * values[i + 8]!;
      values[i] = radius * Math.cos(angle);
      values[i + 8] = radius * Math.sin(angle);
    }
  };
  for (let start = 0; start + 16 <= length; start += 16) mix(start);
  if (length % 16 !== 0) {
    values.set(Float64Array.from({ length: 16 }, draw), length - 16);
    mix(length - 16);
  }
  return values;
}
