// Continuing sequences token by token. A row with several new tokens, a prompt, is read alone; rows with
// one are computed side by side, as many as there are. Weights are those that training reads, or held by
// the kernels, and a method's hooks apply as in training.

import { TunesmithError } from "../../errors.ts";
import type { Value } from "../../runtime/kernel.ts";
import { floatData } from "../../runtime/values.ts";
import { checkBatch } from "../inputs.ts";
import { padded } from "../rounded-length.ts";
import { batchSize } from "./batch-sizes.ts";
import { createContextReading } from "./context-reading.ts";
import type { DecodableModel, Decoder, DecoderOptions } from "./decoder-contract.ts";
import { computePrefixes } from "./fixed-prefix.ts";
import { createImageIds } from "./image-ids.ts";
import {
  cacheBytes,
  createKeyValueCache,
  type KeyValueCache,
  roundedCapacity,
} from "./key-value-cache.ts";
import { promptParts } from "./prompt-parts.ts";
import { createRereadingDecoder } from "./rereading-decoder.ts";
import { createScratchMemory } from "./scratch-memory.ts";
import { createTextPositions } from "./text-positions.ts";
import {
  createDecodingBind,
  createMethodKernels,
  createTokenReader,
  type MethodKernels,
  type TokenReader,
} from "./token-reader.ts";

export type {
  DecodableModel,
  Decoder,
  DecoderOptions,
  ModelOfRows,
} from "./decoder-contract.ts";

/** @throws TunesmithError (config) for a classifier, which has no next token */
export function createDecoder(model: DecodableModel, options: DecoderOptions = {}): Decoder {
  if (model.architecture.classifier) throw saysNoTokens(model.architecture.classifier.labels);
  if (model.method?.mixesPositions || model.method?.readsFirstPass)
    return createRereadingDecoder(model, options);
  return createCachingDecoder(model, options);
}

function createCachingDecoder(
  model: DecodableModel,
  { batch = 1, capacity = 256, chunk = 512, modelOf = async () => model }: DecoderOptions,
): Decoder {
  const { architecture, method, weights } = model;
  const { dimensions } = architecture;
  const { hiddenSize, vocabularySize } = dimensions;
  const virtualCount = method?.virtualTokens?.count ?? 0;
  const positions = createTextPositions(model);
  const inContext = createContextReading(architecture);
  const scratch = createScratchMemory();
  const images = createImageIds(architecture);
  let readers = new WeakMap<DecodableModel, TokenReader>();
  let kernels = new WeakMap<object, MethodKernels>();
  let { replacements } = weights;
  const readerOf = async (rows: readonly (number | undefined)[]): Promise<TokenReader> => {
    const own = await modelOf(rows);
    if (weights.replacements !== replacements) {
      // Kernels may hold what was there before.
      [readers, kernels] = [new WeakMap(), new WeakMap()];
      replacements = weights.replacements;
    }
    const known = readers.get(own);
    if (known) return known;
    const ofMethod = kernels.get(own.method ?? architecture) ?? createMethodKernels(own);
    kernels.set(own.method ?? architecture, ofMethod);
    const reader = createTokenReader(own, scratch, ofMethod, images);
    readers.set(own, reader);
    return reader;
  };

  /** The tokens of each row (rows of images have ids of their own), those included that have yet to be read. */
  const texts = Array.from({ length: batch }, (): number[] => []);
  /** Whether what is kept of a row is turned by the rotary tables for long texts. */
  const isLong = new Array<boolean>(batch).fill(false);
  const logits: Float32Array[] = [];
  let opened: KeyValueCache | undefined;
  const openCache = async () => {
    opened ??= createKeyValueCache(
      dimensions,
      batch,
      capacity,
      await computePrefixes(model, createDecodingBind(model)),
    );
    return opened;
  };

  /** What of a row's text the cache does not hold; its virtual tokens are read before its first real one. */
  const unread = (row: number, cache: KeyValueCache): readonly number[] => {
    const text = texts[row]!;
    const goesBeyond = positions.isLong(virtualCount + text.length);
    // Keys that were kept are of other rotary tables than the text's.
    if (goesBeyond !== isLong[row]) cache.truncate(row, 0);
    isLong[row] = goesBeyond;
    const before = cache.lengths[row]!;
    const fresh = text.length - Math.max(0, before - virtualCount);
    if (inContext?.restarts(row, text, fresh, before)) cache.truncate(row, 0);
    const kept = cache.lengths[row]!;
    if (kept > 0) return text.slice(kept - virtualCount);
    return [...new Array<number>(virtualCount).fill(0), ...text];
  };
  const readRow = (row: number, fresh: number, cache: KeyValueCache) => ({
    length: cache.lengths[row]!,
    fresh,
    isLong: isLong[row]!,
    ...(inContext && { text: texts[row]! }),
  });
  const keepLogits = (row: number, from: Float32Array) => {
    logits[row] ??= new Float32Array(vocabularySize);
    logits[row].set(from);
  };

  const readPrompt = async (row: number, tokens: readonly number[], cache: KeyValueCache) => {
    const reader = await readerOf([row]);
    const [last] = scratch("last", [[1, hiddenSize]]) as [Value];
    for (const { start, count, sequence } of promptParts(
      tokens.length,
      inContext ? tokens.length : chunk,
    )) {
      cache.reserve(1, cache.lengths[row]! + sequence);
      const states = await reader.read(cache, {
        first: cache.slotFor(row),
        rows: [readRow(row, count, cache)],
        sequence,
        ids: padded(tokens.slice(start, start + count), sequence),
        ...(inContext && { masks: inContext.masks([texts[row]!], virtualCount, sequence) }),
      });
      cache.advance(row, count);
      const end = (count - 1) * hiddenSize;
      floatData(last).set(floatData(states).subarray(end, end + hiddenSize));
    }
    keepLogits(row, await reader.logits(last));
  };

  /** Reads one token of each of some rows. */
  const step = async (tokens: ReadonlyMap<number, number>, cache: KeyValueCache) => {
    const count = batchSize(tokens.size, batch);
    cache.reserve(count, Math.max(...cache.lengths) + 1);
    const rows = cache.gather([...tokens.keys()], count);
    const reader = await readerOf(rows.map((row) => (tokens.has(row) ? row : undefined)));
    const states = await reader.read(cache, {
      first: 0,
      rows: rows.map((row) => readRow(row, tokens.has(row) ? 1 : 0, cache)),
      sequence: 1,
      ids: rows.map((row) => tokens.get(row) ?? 0),
    });
    const all = await reader.logits(states);
    rows.forEach((row, at) => {
      if (!tokens.has(row)) return;
      cache.advance(row, 1);
      keepLogits(row, all.subarray(at * vocabularySize, (at + 1) * vocabularySize));
    });
  };

  return {
    batch,
    get lengths() {
      return texts.map((text) => text.length);
    },
    async append(added, states = []) {
      for (const row of added) if (row.length > 0) checkBatch({ inputIds: [row] }, vocabularySize);
      const cache = await openCache();
      const singles = new Map<number, number>();
      for (const [row, tokens] of added.entries()) {
        if (tokens.length === 0) continue;
        texts[row]!.push(...images.named(tokens, states[row]));
        const fresh = unread(row, cache);
        if (fresh.length === 1) singles.set(row, fresh[0]!);
        else await readPrompt(row, fresh, cache);
      }
      if (singles.size > 0) await step(singles, cache);
      return added.map((tokens, row) => (tokens.length > 0 ? logits[row] : undefined));
    },
    truncate(row, length) {
      const text = texts[row]!;
      text.length = Math.min(text.length, length);
      images.keep(texts);
      opened?.truncate(row, length === 0 ? 0 : virtualCount + length);
    },
    cacheBytes(rows, length) {
      const rounded = roundedCapacity(virtualCount + length, capacity, dimensions);
      return batchSize(rows, batch) * cacheBytes(dimensions, rounded);
    },
    async reserve(rows, length) {
      (await openCache()).reserve(batchSize(rows, batch), virtualCount + length);
    },
  };
}

const saysNoTokens = (labels: readonly string[]) =>
  new TunesmithError("config", {
    where: "model",
    rule: "a text is continued by a model with an output for every token",
    seen: `a classifier of ${labels.join(", ")}`,
    fix: "ask it with `tunesmith classify` or `model.classify`",
  });
