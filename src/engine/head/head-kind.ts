// Which head a model gets, and how many rows it takes at a time: their logits are the largest tensors of a batch.

import type { Checkpoint } from "../../hub/index.ts";
import type { BoundMethod } from "../../methods/index.ts";
import type { BoundArchitecture } from "../../models/index.ts";
import type { WeightStore } from "../weights/weights.ts";
import { SLICE } from "./matrix-head.ts";

/**
 * "matrix": the output module is a frozen matrix whose rows can be read. "trained matrix": one that is trained.
 * "whole": more than that, since a method changes it, it has a bias, its logits are bent, it is quantised,
 * or it is a classifier's.
 */
export type HeadKind = "matrix" | "trained matrix" | "whole";

export function headKind(
  method: BoundMethod | undefined,
  { outputPath, outputName, logitShape, weights, classifier }: BoundArchitecture,
  isNarrow: (name: string) => boolean,
): HeadKind {
  const isAdapted = method?.linear !== undefined && method.adapted?.includes(outputPath) === true;
  const hasBias = weights.some(({ name }) => name === `${outputPath}.bias`);
  const isBent = logitShape.cap !== undefined;
  if (classifier || isAdapted || hasBias || isBent) return "whole";
  if (method?.replaces.has(`${outputPath}.weight`)) return "trained matrix";
  return isNarrow(outputName) ? "whole" : "matrix";
}

/** Whether a weight is held in blocks or quantised. */
export const isNarrowIn =
  ({ blocks, quantized }: Pick<WeightStore, "blocks" | "quantized">) =>
  (name: string): boolean =>
    blocks(name) !== undefined || quantized(name) !== undefined;

/** Whether a checkpoint has a weight quantised. */
export const isNarrowInFile =
  ({ tensors }: Pick<Checkpoint, "tensors">) =>
  (name: string): boolean =>
    tensors.get(name)?.quantization !== undefined;

/** Numbers that a head has at once for each row, the most of them logits. */
export const NUMBERS_OF_ROW: Readonly<Record<HeadKind, (logits: number) => number>> = {
  // Logits and exponentials of a slice.
  matrix: (logits) => 2 * Math.min(SLICE, logits),
  // Exponentials of all slices are kept.
  "trained matrix": (logits) => logits + Math.min(SLICE, logits),
  // Logits, their exponentials and gradients.
  whole: (logits) => 4 * logits,
};

/** Bytes of logits in memory at once, unless a caller says otherwise. */
export const LOGIT_BYTES = { fast: 256 * 2 ** 20, lean: 48 * 2 ** 20 } as const;

/** The most rows that a head takes at a time; few distinct numbers, and never less than is worth a kernel's run. */
export function rowLimit(logitBytes: number, kind: HeadKind, logits: number): number {
  const rows = Math.floor(logitBytes / (4 * NUMBERS_OF_ROW[kind](logits)) / 128) * 128;
  return Math.min(2048, Math.max(128, rows));
}
