// The measure by which tests compare arrays of numbers that rounding may part.

/**
 * The largest difference as a share of the largest magnitude of `expected`; NaN if there is one.
 * @throws Error where the lengths differ
 */
export function arrayDifference(actual: ArrayLike<number>, expected: ArrayLike<number>): number {
  if (actual.length !== expected.length)
    throw new Error(`${actual.length} values where ${expected.length} are expected`);
  let difference = 0;
  let largest = 0;
  for (let i = 0; i < expected.length; i++) {
    const gap = Math.abs(actual[i]! - expected[i]!);
    if (!(gap <= difference)) difference = gap;
    largest = Math.max(largest, Math.abs(expected[i]!));
  }
  return difference === 0 ? 0 : difference / largest;
}
