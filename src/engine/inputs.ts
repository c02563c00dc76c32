// The inputs that all layers of a batch share: positions, rotary tables and the attention mask.

import { TunesmithError } from "../errors.ts";
import { type BoundArchitecture, type Reach, rotaryPairs } from "../models/index.ts";
import type { Value } from "../runtime/kernel.ts";
import { floats, integers } from "../runtime/values.ts";
import { sizeOf } from "../tensor/index.ts";
import type { Batch } from "./batch.ts";
import { type BatchInput, REACH_INPUTS, REACHES, type ReachInputName } from "./trace.ts";
import { VIRTUAL_SEGMENT } from "./virtual-tokens.ts";

/** Added to the score of a position that must not be seen; finite, so that no row becomes NaN. */
export const HIDDEN_SCORE = -1e30;

export interface SharedInputs {
  readonly batch: number;
  readonly sequence: number;
  readonly maskBatch: number;
  /** Rows of the cosine and sine tables. */
  readonly rotaryLength: number;
  readonly values: Readonly<Record<BatchInput, Value>>;
}

/** @throws TunesmithError (shape, data) for rows of unequal length or ids outside the vocabulary */
export function checkBatch(batch: Batch, vocabularySize: number): void {
  const sequence = batch.inputIds[0]?.length ?? 0;
  const where = "batch";
  if (sequence === 0)
    throw new TunesmithError("data", {
      where,
      rule: "has at least one row with at least one token",
      seen: `${batch.inputIds.length} rows, the first with ${sequence} tokens`,
      fix: "drop empty samples",
    });
  const { rowLabels: _, pixelValues: __, ...perToken } = batch;
  const parts = { ...perToken } as Record<string, readonly (readonly number[])[] | undefined>;
  for (const [name, rows] of Object.entries(parts)) {
    if (!rows) continue;
    const odd = rows.findIndex((row) => row.length !== sequence);
    if (rows.length === batch.inputIds.length && odd < 0) continue;
    throw new TunesmithError("shape", {
      where: `${where}: ${name}`,
      rule: `has ${batch.inputIds.length} rows of ${sequence} numbers, like inputIds`,
      seen: odd < 0 ? `${rows.length} rows` : `row ${odd} with ${rows[odd]!.length}`,
      fix: "pad shorter rows and mark the padding in attentionMask",
    });
  }
  const ids = (name: string, rows: readonly (readonly number[])[] | undefined, extra: number) => {
    for (const row of rows ?? [])
      for (const id of row)
        if (!(Number.isInteger(id) && ((id >= 0 && id < vocabularySize) || id === extra)))
          throw new TunesmithError("data", {
            where: `${where}: ${name}`,
            rule: `token ids lie between 0 and ${vocabularySize - 1}`,
            seen: String(id),
            fix: "use the tokenizer that belongs to the model",
          });
  };
  ids("inputIds", batch.inputIds, 0);
  ids("labels", batch.labels, -100);
}

export interface InputOptions {
  /** Added to every position. Default 0. */
  readonly offset?: number;
  /** Whether padding that follows a text is hidden too, though no text looks that far ahead. */
  readonly hidesPadding?: boolean;
}

export function sharedInputs(
  batch: Batch,
  architecture: BoundArchitecture,
  { offset = 0, hidesPadding = false }: InputOptions = {},
): SharedInputs {
  if (batch.contextMask && !architecture.dimensions.blanks) throw withoutContexts();
  const rows = batch.inputIds.length;
  const sequence = batch.inputIds[0]!.length;
  const positions = new BigInt64Array(rows * sequence);
  const last = lastPosition(architecture);
  let furthest = 0;
  for (let b = 0; b < rows; b++)
    for (let t = 0; t < sequence; t++) {
      const wanted = offset + (batch.positionIds?.[b]?.[t] ?? t);
      if (wanted > last && batch.attentionMask?.[b]?.[t] !== 0) throw beyondTable(wanted, last);
      const position = Math.min(wanted, last);
      furthest = Math.max(furthest, position);
      positions[b * sequence + t] = BigInt(position);
    }
  const length = Math.max(sequence, furthest + 1);
  const { slidingWindow = sequence } = architecture.dimensions;
  const maskOf = (window: number) => attentionMask(batch, hidesPadding, window);
  const mask = maskOf(Number.POSITIVE_INFINITY);
  const masks = { global: mask, local: slidingWindow < sequence ? maskOf(slidingWindow) : mask };
  const byReach = REACHES.map((reach) => {
    const names = REACH_INPUTS[reach];
    const { cosines, sines } = rotaryValues(architecture, furthest + 1, length, reach);
    const values = floats(masks[reach], [mask.length / sequence ** 2, 1, sequence, sequence]);
    return { [names.mask]: values, [names.cosines]: cosines, [names.sines]: sines };
  });
  return {
    batch: rows,
    sequence,
    maskBatch: mask.length / (sequence * sequence),
    rotaryLength: length,
    values: {
      positions: integers(positions, [rows, sequence]),
      ...(Object.assign({}, ...byReach) as Record<ReachInputName, Value>),
      rowWeights: floats(rowWeights(batch), [rows, sequence]),
      tokenIds: integers(BigInt64Array.from(batch.inputIds.flat(), BigInt), [rows, sequence]),
    },
  };
}

const withoutContexts = () =>
  new TunesmithError("data", {
    where: "batch: contextMask",
    rule: "only a model that was made for it sees a context both ways (glm-130b)",
    seen: "a contextMask for a model that looks back alone",
    fix: "leave contextMask out",
  });

/** Where positions are learned, the last one of the table. */
function lastPosition({ weights, dimensions }: BoundArchitecture): number {
  const isLearned = weights.some(({ role }) => role === "positions");
  return isLearned ? dimensions.maximumPositions - 1 : Number.POSITIVE_INFINITY;
}

const beyondTable = (position: number, last: number) =>
  new TunesmithError("data", {
    where: "batch",
    rule: `a text has at most ${last + 1} tokens, as many as the model has learned positions`,
    seen: `a token at position ${position}`,
    fix: "cut the text, or lower data.maxLength",
  });

/**
 * Rotary tables of `rows` rows, of which the first `positions` are used: a kernel wants as many as its
 * sequence is long.
 */
export function rotaryValues(
  { rotaryTables, dimensions }: Pick<BoundArchitecture, "rotaryTables" | "dimensions">,
  positions: number,
  rows: number,
  reach: Reach,
): { readonly cosines: Value; readonly sines: Value } {
  const shape = [rows, rotaryPairs(dimensions)];
  const extended = (table: Float32Array) => {
    const longer = new Float32Array(sizeOf(shape));
    longer.set(table.subarray(0, longer.length));
    return floats(longer, shape);
  };
  const { cosines, sines } = rotaryTables(positions, reach);
  return { cosines: extended(cosines), sines: extended(sines) };
}

/** The share of each real position in its row's mean, [batch · seq]; padding has none. */
function rowWeights({ inputIds, attentionMask: real }: Batch): Float32Array {
  const bits = real ?? inputIds.map((row) => row.map(() => 1));
  return Float32Array.from(
    bits.flatMap((row) => {
      const count = row.reduce((sum, bit) => sum + bit, 0);
      return row.map((bit) => bit / Math.max(1, count));
    }),
  );
}

/**
 * [1 or batch, seq, seq]: one mask for all rows unless padding on the left or packing asks for more.
 * @param window positions that each one sees, itself included
 */
function attentionMask(
  { inputIds, attentionMask: real, segmentIds, positionIds, contextMask }: Batch,
  hidesPadding: boolean,
  window: number,
): Float32Array {
  const sequence = inputIds[0]!.length;
  const size = sequence * sequence;
  const seenPadding = real?.some((row) =>
    row.some((bit, t) => bit === 0 && (hidesPadding || row[t + 1] === 1)),
  );
  const own = segmentIds !== undefined || contextMask !== undefined || seenPadding === true;
  const masks = new Float32Array(own ? inputIds.length * size : size).fill(HIDDEN_SCORE);
  for (let b = 0; b < (own ? inputIds.length : 1); b++)
    for (let query = 0; query < sequence; query++) {
      const start = b * size + query * sequence;
      if (!own) masks.fill(0, start + Math.max(0, query + 1 - window), start + query + 1);
      else
        for (let key = 0; key < sequence; key++) {
          const inContext = contextMask?.[b]?.[query] === 1 && contextMask[b]![key] === 1;
          if (key > query && !inContext) continue;
          // Virtual tokens stand in front of every packed sample: what counts is positions.
          const positions = segmentIds && positionIds?.[b];
          const distance = positions ? positions[query]! - positions[key]! : query - key;
          if (distance >= window) continue;
          const segment = segmentIds?.[b]?.[key];
          const sameSegment = segment === VIRTUAL_SEGMENT || segment === segmentIds?.[b]?.[query];
          if (sameSegment && (real?.[b]?.[key] ?? 1) === 1) masks[start + key] = 0;
        }
    }
  return masks;
}
