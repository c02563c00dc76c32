// How many rows a step computes: few distinct numbers, so that few kernels are compiled.

/** The size at which `rows` of at most `most` are computed: a power of two, or all there may be. */
export const batchSize = (rows: number, most: number): number =>
  Math.min(most, 2 ** Math.ceil(Math.log2(rows)));
