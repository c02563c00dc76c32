// How many rows the head takes at a time: their logits are the largest tensors of a batch.

/** Bytes of logits in memory at once, unless a caller says otherwise. */
export const LOGIT_BYTES = { fast: 256 * 2 ** 20, lean: 48 * 2 ** 20 } as const;

/** The most rows whose logits fit; few distinct numbers, and never less than is worth a kernel's run. */
export function rowLimit(logitBytes: number, logitCount: number): number {
  const rows = Math.floor(logitBytes / (4 * logitCount) / 128) * 128;
  return Math.min(2048, Math.max(128, rows));
}
