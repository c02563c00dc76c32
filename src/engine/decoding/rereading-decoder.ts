// Continuing sequences without keys and values that were kept: under a method that averages over whole
// rows (UniPELT's gates), where every new token changes what was computed for all before it, under one of
// two passes (X-LoRA), as PEFT does, and behind a context that sees all of itself (GLM-130B), since
// attention over a cache looks back alone. Each call reads whole rows again; the work for an answer
// grows with the square of its length, and is exact.

import { createNetwork } from "../network.ts";
import type { DecodableModel, Decoder, DecoderOptions } from "./decoder-contract.ts";
import { createImageIds } from "./image-ids.ts";

/** See `createDecoder`, which chooses. */
export function createRereadingDecoder(
  { parameterSet: parameters, ...model }: DecodableModel,
  { batch = 1, seesContext = false }: DecoderOptions,
): Decoder {
  const network = createNetwork({ ...model, parameters, memory: "lean" });
  const { vocabularySize } = model.architecture.dimensions;
  const rows: number[][] = Array.from({ length: batch }, () => []);
  const contexts = new Array<number>(batch).fill(0);
  const images = createImageIds(model.architecture);

  /** Rows with images are read one by one: their states are told apart by the order of their tokens. */
  const nextLogits = async (read: readonly (readonly number[])[], ofRead: readonly number[]) => {
    const states = read.map(images.states);
    const tokens = read.map(images.tokens);
    const context = (from: number, to?: number) =>
      seesContext ? ofRead.slice(from, to) : undefined;
    if (states.every(({ length }) => length === 0)) {
      const logits = await network.nextLogits(tokens, context(0));
      return read.map((_, i) => logits.subarray(i * vocabularySize, (i + 1) * vocabularySize));
    }
    const logits: Float32Array[] = [];
    for (const [i, row] of tokens.entries())
      logits.push(await network.nextLogits([row], context(i, i + 1), states[i]));
    return logits;
  };
  return {
    batch,
    get lengths() {
      return rows.map((row) => row.length);
    },
    async append(given, states = []) {
      given.forEach((tokens, b) => {
        if (seesContext && rows[b]!.length === 0) contexts[b] = Math.max(0, tokens.length - 1);
        rows[b]!.push(...images.named(tokens, states[b]));
      });
      const read = rows.filter((_, b) => given[b]!.length > 0);
      if (read.length === 0) return rows.map(() => undefined);
      const ofRead = contexts.filter((_, b) => given[b]!.length > 0);
      const logits = await nextLogits(read, ofRead);
      let next = 0;
      return given.map((tokens) => (tokens.length === 0 ? undefined : logits[next++]));
    },
    truncate(row, length) {
      rows[row]!.length = Math.min(rows[row]!.length, length);
      images.keep(rows);
    },
  };
}
