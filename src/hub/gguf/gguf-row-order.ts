// Where llama.cpp wants the rows of a matrix in another order than Transformers has them.

/** For every row of a file's tensor, the row of the model folder's tensor that it is. */
export interface RowOrder {
  /** How many there are. */
  readonly rows: number;
  source(row: number): number;
}

/**
 * Heads whose rotary embedding pairs neighbours in llama.cpp and the halves of a head in Transformers: rows of
 * the two halves in turn.
 */
export const interleaved = (heads: number, headSize: number): RowOrder => ({
  rows: heads * headSize,
  source(row) {
    const within = row % headSize;
    return row - within + (within % 2) * (headSize / 2) + (within >> 1);
  },
});

/**
 * Queries, keys and values that lie group by group in Transformers, `queries` heads of the first and one of each
 * other in a group, and one kind behind the other in llama.cpp.
 */
export function ungrouped(groups: number, queries: number, headSize: number): RowOrder {
  const perGroup = queries + 2;
  const source = (row: number) => {
    const [head, within] = [Math.floor(row / headSize), row % headSize];
    const kind = Math.max(0, Math.floor((head - groups * queries) / groups) + 1);
    const index = kind === 0 ? head : (head - groups * queries) % groups;
    const group = kind === 0 ? Math.floor(index / queries) : index;
    const inGroup = kind === 0 ? index % queries : queries + kind - 1;
    return (group * perGroup + inGroup) * headSize + within;
  };
  return { rows: groups * perGroup * headSize, source };
}

/** Rows of a model folder in the file's order. */
export function reordered(data: Float32Array, { rows, source }: RowOrder): Float32Array {
  const width = data.length / rows;
  const result = new Float32Array(data.length);
  for (let row = 0; row < rows; row++) {
    const from = source(row) * width;
    result.set(data.subarray(from, from + width), row * width);
  }
  return result;
}
