// What a model will see of its training data: rows as spans of text that are trained on or not.

import type { BatchSource } from "../data/batch-source.ts";
import type { Batch } from "../engine/batch.ts";
import { IGNORED_LABEL } from "../engine/batch.ts";
import type { Tokenizer } from "../hub/tokenizer-types.ts";

export interface PreviewSpan {
  readonly text: string;
  /** Whether its tokens are trained on. */
  readonly trained: boolean;
  readonly tokens: number;
}

/** One row of a batch; a packed row holds several samples. */
export interface PreviewRow {
  readonly samples: readonly (readonly PreviewSpan[])[];
  readonly tokens: number;
  readonly trainedTokens: number;
}

/** The first rows that a source would train on. */
export async function previewRows(
  source: BatchSource,
  tokenizer: Tokenizer,
  count: number,
): Promise<PreviewRow[]> {
  const rows: PreviewRow[] = [];
  for await (const batch of source.epoch(0))
    for (let row = 0; row < batch.inputIds.length; row++) {
      if (rows.length === count) return rows;
      rows.push(previewRow(batch, row, tokenizer));
    }
  return rows;
}

function previewRow(batch: Batch, row: number, tokenizer: Tokenizer): PreviewRow {
  const ids = batch.inputIds[row]!;
  const labels = batch.labels?.[row] ?? ids;
  const mask = batch.attentionMask?.[row];
  const segments = batch.segmentIds?.[row];
  const samples: { ids: number[]; trained: boolean }[][] = [];
  let segment: number | undefined;
  let tokens = 0;
  let trainedTokens = 0;
  for (let position = 0; position < ids.length; position++) {
    if (mask?.[position] === 0 || segments?.[position] === 0) continue;
    if (samples.length === 0 || segments?.[position] !== segment) samples.push([]);
    segment = segments?.[position];
    const sample = samples.at(-1)!;
    // The first token of a sample has nothing before it to be predicted from.
    const trained = sample.length > 0 && labels[position] !== IGNORED_LABEL;
    const span = sample.at(-1);
    if (span?.trained === trained) span.ids.push(ids[position]!);
    else sample.push({ ids: [ids[position]!], trained });
    tokens++;
    if (trained) trainedTokens++;
  }
  return {
    samples: samples.map((spans) =>
      spans.map((span) => ({
        text: tokenizer.decode(span.ids, { skipSpecialTokens: false }),
        trained: span.trained,
        tokens: span.ids.length,
      })),
    ),
    tokens,
    trainedTokens,
  };
}
