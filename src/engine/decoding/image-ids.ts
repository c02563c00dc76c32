// Rows of images in a decoder. Each has an id of its own behind the vocabulary, in the place of the image
// token: what a row of text has read says by itself what it was, however it is cut off or read again.

import type { BoundArchitecture } from "../../models/index.ts";

export interface ImageIds {
  /**
   * New tokens with ids of image rows in place of image tokens, as long as there are rows for them.
   * @param states [image rows, hidden]
   */
  named(tokens: readonly number[], states: Float32Array | undefined): readonly number[];
  /** The ids as tokens of the vocabulary. */
  tokens(ids: readonly number[]): readonly number[];
  /** Writes the rows that ids stand for over those of their tokens, in `x` [ids.length, hidden]. */
  put(ids: readonly number[], x: Float32Array): void;
  /** The rows that ids stand for, in their order, [image rows, hidden]. */
  states(ids: readonly number[]): Float32Array;
  /** Forgets rows that none of these ids stands for. */
  keep(ids: readonly (readonly number[])[]): void;
}

export function createImageIds({ images, dimensions }: BoundArchitecture): ImageIds {
  const { vocabularySize, hiddenSize } = dimensions;
  const rows: Float32Array[] = [];
  return {
    named(tokens, states) {
      if (!states) return tokens;
      let next = 0;
      return tokens.map((id) => {
        if (id !== images?.token || next === states.length) return id;
        rows.push(states.subarray(next, next + hiddenSize));
        next += hiddenSize;
        return vocabularySize + rows.length - 1;
      });
    },
    tokens: (ids) =>
      rows.length === 0 ? ids : ids.map((id) => (id < vocabularySize ? id : images!.token)),
    put(ids, x) {
      if (rows.length === 0) return;
      for (const [at, id] of ids.entries())
        if (id >= vocabularySize) x.set(rows[id - vocabularySize]!, at * hiddenSize);
    },
    states(ids) {
      const own = ids.filter((id) => id >= vocabularySize).map((id) => rows[id - vocabularySize]!);
      const joined = new Float32Array(own.length * hiddenSize);
      for (const [i, row] of own.entries()) joined.set(row, i * hiddenSize);
      return joined;
    },
    keep(ids) {
      if (rows.length === 0) return;
      let used = 0;
      for (const row of ids) for (const id of row) used = Math.max(used, id + 1 - vocabularySize);
      rows.length = Math.min(rows.length, used);
    },
  };
}
