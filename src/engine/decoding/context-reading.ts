// How a decoder reads texts whose context sees all of itself (GLM-130B): all at once, with the attention of
// training; behind that, token by token, attention over the cache looks back as everywhere.

import type { BoundArchitecture } from "../../models/index.ts";
import type { Value } from "../../runtime/kernel.ts";
import { sharedInputs } from "../inputs.ts";
import { padded } from "../rounded-length.ts";
import { contextOf, positionIn } from "../row-context.ts";
import { type BatchInput, REACH_INPUTS, REACHES } from "../trace.ts";

export interface ContextReading {
  /**
   * Whether a row's new tokens are to be read with all before them: what is kept of these, `kept` positions,
   * was read in another context, or does not fit to several tokens at once.
   */
  restarts(row: number, text: readonly number[], fresh: number, kept: number): boolean;
  /** The position of a text's token. */
  positionOf(text: readonly number[], index: number): number;
  /** Masks for texts that are read as a whole, each padded to `sequence` behind `virtualCount` positions. */
  masks(
    texts: readonly (readonly number[])[],
    virtualCount: number,
    sequence: number,
  ): Partial<Record<BatchInput, Value>>;
}

/** Undefined for a model that looks back alone. */
export function createContextReading(architecture: BoundArchitecture): ContextReading | undefined {
  const { blanks } = architecture.dimensions;
  if (!blanks) return undefined;
  /** The context that each row's kept positions were read in. */
  const contexts = new Map<number, number | undefined>();
  return {
    restarts(row, text, fresh, kept) {
      const length = contextOf(text, blanks)?.length;
      const isOther = contexts.get(row) !== length;
      contexts.set(row, length);
      return kept === 0 || fresh > 1 || isOther;
    },
    positionOf: (text, index) => positionIn(contextOf(text, blanks), index),
    masks(texts, virtualCount, sequence) {
      const marks = (text: readonly number[], ofVirtual: number, ofText: (t: number) => number) =>
        padded(
          [...new Array<number>(virtualCount).fill(ofVirtual), ...text.map((_, t) => ofText(t))],
          sequence,
        );
      const { values } = sharedInputs(
        {
          inputIds: texts.map(() => new Array<number>(sequence).fill(0)),
          attentionMask: texts.map((text) => marks(text, 1, () => 1)),
          contextMask: texts.map((text) => {
            const length = contextOf(text, blanks)?.length ?? 0;
            return marks(text, 0, (t) => Number(t < length));
          }),
        },
        architecture,
      );
      const names = REACHES.map((reach) => REACH_INPUTS[reach].mask);
      return Object.fromEntries(names.map((name) => [name, values[name]]));
    },
  };
}
