// What a measurement runs: the size of the step and of the model, as options of the command line,
// and the batch that every peer trains on.

import type { ParseArgsConfig } from "node:util";
import type { Batch } from "../src/engine/batch.ts";
import { IGNORED_LABEL } from "../src/engine/batch.ts";

/** A LoRA step (alpha 16, on q_proj and v_proj). */
export interface Workload {
  readonly batch: number;
  /** Tokens of a row. */
  readonly length: number;
  readonly rank: number;
  /** Keeps only the first so many layers. */
  readonly depth?: number;
  /** Labels are -100 but on this last share of each row. */
  readonly trainableFraction: number;
}

export const STANDARD: Workload = { batch: 4, length: 256, rank: 8, trainableFraction: 1 };

/** The flags that ours and the peers share, for `parseArgs`. */
export const WORKLOAD_FLAGS = {
  batch: { type: "string" },
  length: { type: "string" },
  rank: { type: "string" },
  depth: { type: "string" },
  "trainable-fraction": { type: "string" },
} as const satisfies ParseArgsConfig["options"];

type Flags = Partial<Record<keyof typeof WORKLOAD_FLAGS, string>>;

/** The workload of given flags. @throws RangeError for a value out of range */
export function readWorkload(flags: Flags): Workload {
  const fraction = Number(flags["trainable-fraction"] ?? STANDARD.trainableFraction);
  if (!(fraction > 0 && fraction <= 1))
    throw new RangeError(`--trainable-fraction must be above 0 and at most 1, not ${fraction}`);
  return {
    batch: readCount("batch", flags.batch, STANDARD.batch),
    length: readCount("length", flags.length, STANDARD.length),
    rank: readCount("rank", flags.rank, STANDARD.rank),
    ...(flags.depth === undefined ? {} : { depth: readCount("depth", flags.depth, 1) }),
    trainableFraction: fraction,
  };
}

/** A whole number from 1 up. @throws RangeError for anything else */
export function readCount(name: string, text: string | undefined, fallback: number): number {
  const value = text === undefined ? fallback : Number(text);
  if (Number.isInteger(value) && value >= 1) return value;
  throw new RangeError(`--${name} must be a whole number from 1 up, not "${text}"`);
}

/** The workload as flags, for ours and for the peers. */
export function workloadFlags(workload: Workload): string[] {
  const { batch, length, rank, depth, trainableFraction } = workload;
  return [
    ...["--batch", String(batch), "--length", String(length), "--rank", String(rank)],
    ...(depth === undefined ? [] : ["--depth", String(depth)]),
    ...["--trainable-fraction", String(trainableFraction)],
  ];
}

/** Positions of a row whose labels count. */
export const trainedPositions = ({ length, trainableFraction }: Workload): number =>
  Math.max(1, Math.round(length * trainableFraction));

/**
 * The batch of bench/peers/peft-step.py: token i, row by row, is 17 + 7919 i mod (vocabulary - 17).
 */
export function makeBatch(workload: Workload, vocabularySize: number): Batch {
  const { batch, length } = workload;
  const inputIds = Array.from({ length: batch }, (_, row) =>
    Array.from(
      { length },
      (_, position) => 17 + (((row * length + position) * 7919) % (vocabularySize - 17)),
    ),
  );
  const firstTrained = length - trainedPositions(workload);
  const labels = inputIds.map((row) =>
    row.map((id, position) => (position < firstTrained ? IGNORED_LABEL : id)),
  );
  return { inputIds, labels };
}
