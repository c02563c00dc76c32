// What the tokens of a text say of how a model that fills blanks reads it: how far its context goes, and
// at which position what fills the blank stands. As ChatGLM-6B's own code, this asks nothing but the ids.

import type { BlankTokens } from "../models/index.ts";
import type { Batch } from "./batch.ts";

export interface RowContext {
  /** Tokens from the first on that see each other, whichever comes first. */
  readonly length: number;
  /** The position that all tokens behind the context have; absent where positions go on. */
  readonly position?: number;
}

/** The context of a text; undefined where nothing starts to fill a blank: it is read from left to right. */
export function contextOf(
  ids: readonly number[],
  { start, mask }: BlankTokens,
): RowContext | undefined {
  const length = ids.indexOf(start);
  if (length < 0) return undefined;
  const position = ids.indexOf(mask);
  return position >= 0 && position < length ? { length, position } : { length };
}

/** The contexts of rows as a `Batch` has them. */
export function contextsOf(
  rows: readonly (readonly number[])[],
  blanks: BlankTokens,
): Required<Pick<Batch, "contextMask" | "positionIds">> {
  const contexts = rows.map((row) => contextOf(row, blanks));
  return {
    contextMask: rows.map((row, b) => row.map((_, t) => Number(t < (contexts[b]?.length ?? 0)))),
    positionIds: rows.map((row, b) => row.map((_, t) => positionIn(contexts[b], t))),
  };
}

/** The position of the token at `index`. */
export const positionIn = (context: RowContext | undefined, index: number): number =>
  context?.position !== undefined && index >= context.length ? context.position : index;
