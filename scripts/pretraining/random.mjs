/**
 * A seeded random source for the scripts that write data: the same seed gives the same files on every machine.
 */

/**
 * mulberry32 with the few draws that the data scripts need.
 *
 * @param {number} seed any 32-bit integer
 */
export function createRandom(seed) {
  let state = seed >>> 0;
  /** A number in [0, 1). */
  const next = () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = Math.imul(state ^ (state >>> 15), state | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
  };
  /** A number of the standard normal distribution (Box-Muller). */
  const normal = () => Math.sqrt(-2 * Math.log(1 - next())) * Math.cos(2 * Math.PI * next());
  /** An integer in [low, high], both included. */
  const integer = (low, high) => low + Math.floor(next() * (high - low + 1));
  /** One entry of a list. */
  const pick = (list) => list[Math.floor(next() * list.length)];
  /** True with the given probability. */
  const chance = (probability) => next() < probability;
  /** A shuffled copy (Fisher-Yates). */
  const shuffle = (list) => {
    const copy = [...list];
    for (let i = copy.length - 1; i > 0; i--) {
      const j = integer(0, i);
      [copy[i], copy[j]] = [copy[j], copy[i]];
    }
    return copy;
  };
  /** `count` different entries of a list, in random order. */
  const sample = (list, count) => {
    const chosen = new Set();
    while (chosen.size < Math.min(count, list.length)) chosen.add(pick(list));
    return [...chosen];
  };
  return { next, normal, integer, pick, chance, shuffle, sample };
}

/** @typedef {ReturnType<typeof createRandom>} Random */
