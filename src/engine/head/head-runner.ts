// Running the head over rows of hidden states, a chunk at a time, so that logits of a whole batch
// never exist at once.

import type { Value } from "../../runtime/kernel.ts";
import { floatData, floats, rowsFrom } from "../../runtime/values.ts";
import type { RunValues } from "../bind.ts";
import { paddedRowCount } from "../rows.ts";
import type { Chunk, ChunkHeadOptions, HeadLabels } from "./chunk.ts";
import { headKind, isNarrowIn } from "./head-kind.ts";
import { createMatrixHead } from "./run-matrix-head.ts";
import { createWholeHead } from "./run-whole-head.ts";

export interface HeadRunner {
  /**
   * Σ factor · (negative log-likelihood of labels[i] at row i of `states` [rows, hidden], or the loss of
   * a classifier's problem).
   * @param visit given a classifier's logits [rows, labels], a chunk of rows at a time, in order
   */
  loss(
    states: Value,
    labels: HeadLabels,
    factor: number,
    visit?: (logits: Float32Array) => void,
  ): Promise<number>;
  /**
   * The same, adding gradients of what is trained in the head, and writing that of `states` to
   * `stateGradients` where it is given (rows without a label get zero).
   */
  lossWithGradients(
    states: Value,
    labels: HeadLabels,
    factor: number,
    stateGradients: Value | undefined,
    run: RunValues,
  ): Promise<number>;
  /** Logits [rows, vocabulary or labels]. */
  logits(states: Value): Promise<Float32Array>;
}

export function createHeadRunner(options: ChunkHeadOptions): HeadRunner {
  const { architecture, method, weights } = options;
  const { logitCount, classifier } = architecture;
  const whole = createWholeHead(options);
  const kind = headKind(method, architecture, isNarrowIn(weights));
  const head = kind === "whole" ? whole : createMatrixHead(options);
  /** How many of `labels` belong to a row. */
  const perRow =
    classifier && classifier.problem !== "single_label_classification" ? logitCount : 1;

  /** The sum of the losses that `work` makes of each chunk of labelled rows. */
  const overChunks = async (
    states: Value,
    labels: HeadLabels,
    { factor, seed }: { readonly factor: number; readonly seed?: number | undefined },
    work: (chunk: Chunk, start: number, rows: number) => Promise<Float32Array>,
  ): Promise<number> => {
    let sum = 0;
    const limit = head.rowLimit;
    const rowCount = labels.length / perRow;
    for (let start = 0; start < rowCount; start += limit) {
      const own = labels.subarray(start * perRow, (start + limit) * perRow);
      const ownRows = own.length / perRow;
      const rows = Math.min(paddedRowCount(ownRows), states.dims[0]! - start);
      const chunk = {
        states: rowsFrom(states, start, start + rows),
        labels: own,
        factor,
        lossWeights: floats(new Float32Array(rows).fill(factor, 0, ownRows), [rows, 1]),
        // Chunks are parts of one batch, and drop different elements.
        seed: seed === undefined ? undefined : seed + start,
      };
      for (const loss of await work(chunk, start, rows)) sum += loss;
    }
    return sum;
  };

  return {
    loss: (states, labels, factor, visit) =>
      overChunks(states, labels, { factor }, async (chunk) => {
        const { losses, logits } = await head.loss(chunk);
        if (logits) visit?.(logits.slice(0, (chunk.labels.length / perRow) * logitCount));
        return losses;
      }),

    lossWithGradients(states, labels, factor, stateGradients, { seed }) {
      if (stateGradients) floatData(stateGradients).fill(0);
      return overChunks(states, labels, { factor, seed }, (chunk, start, rows) =>
        head.lossWithGradients(
          chunk,
          stateGradients && rowsFrom(stateGradients, start, start + rows),
        ),
      );
    },

    async logits(states) {
      const rowCount = states.dims[0]!;
      const data = new Float32Array(rowCount * logitCount);
      for (let start = 0; start < rowCount; start += whole.rowLimit) {
        const end = Math.min(rowCount, start + whole.rowLimit);
        data.set(await whole.logits(rowsFrom(states, start, end)), start * logitCount);
      }
      return data;
    },
  };
}
