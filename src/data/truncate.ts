// Samples longer than a training row: what is cut, what is left out, and the count of both, because
// data must not vanish unseen.

import { IGNORED_LABEL } from "../engine/batch.ts";
import { TunesmithError } from "../errors.ts";
import type { Example } from "./example.ts";
import { type Sample, targetsOf } from "./sample.ts";

/**
 * What becomes of a sample longer than the maximum.
 *
 * - "error": it is refused
 * - "keep_start", "keep_end": the rest is cut off
 * - "split": it becomes several samples, each token trained on once; meant for plain text
 * - "drop": it is left out
 * - "auto": "split" for plain texts without a label, "error" for the rest
 *
 * Images are kept whole, and nothing is trained on behind an image that is not there: "keep_start" ends in
 * front of one that it would cut, and a sample that "keep_end" or "split" would take one from is left out.
 */
export const TRUNCATION_RULES = [
  "auto",
  "error",
  "keep_start",
  "keep_end",
  "split",
  "drop",
] as const;
export type TruncationRule = (typeof TRUNCATION_RULES)[number];

/** The rule that "auto" stands for. */
export function ruleFor(
  rule: TruncationRule,
  kind: Example["kind"],
  isLabelled: boolean,
): Exclude<TruncationRule, "auto"> {
  if (rule !== "auto") return rule;
  return kind === "text" && !isLabelled ? "split" : "error";
}

/** What became of a sample. "untargeted": nothing in it is trained on, so it is left out. */
export type TruncationOutcome = "kept" | "cut" | "split" | "dropped" | "untargeted" | "refused";

export interface Truncated {
  readonly outcome: TruncationOutcome;
  /** Each at most the maximum long, each with a target. */
  readonly samples: readonly Sample[];
}

const DROPPED: Truncated = { outcome: "dropped", samples: [] };

/** Applies a rule. A sample left without targets, by the cut or from the start, is left out. */
export function truncate(
  sample: Sample,
  maxLength: number,
  rule: Exclude<TruncationRule, "auto">,
): Truncated {
  if (sample.inputIds.length <= maxLength) return targeted("kept", [sample]);
  switch (rule) {
    case "error":
      return { outcome: "refused", samples: [] };
    case "drop":
      return DROPPED;
    case "keep_start":
      return targeted("cut", [slice(sample, 0, beforeImage(sample, maxLength))]);
    case "keep_end": {
      const start = sample.inputIds.length - maxLength;
      if (sample.images?.some((image) => image.start < start)) return DROPPED;
      return targeted("cut", [slice(sample, start, undefined)]);
    }
    case "split":
      return sample.images ? DROPPED : targeted("split", split(sample, maxLength));
  }
}

/** The fault of samples that truncation "error" refuses. */
export function tooLong(
  refused: { count: number; longest: { where: string; tokens: number; imageTokens?: number } },
  maxLength: number,
): TunesmithError {
  const { count, longest } = refused;
  const { imageTokens = 0 } = longest;
  const ofImages = imageTokens > 0 ? `, ${imageTokens} of them for images` : "";
  const others = count > 1 ? `; ${count} samples are too long, this is the longest` : "";
  return new TunesmithError("data", {
    where: longest.where,
    rule: `a sample is at most ${maxLength} tokens long`,
    seen: `${longest.tokens} tokens${ofImages}${others}`,
    fix: "raise the maximum length, or choose a truncation: keep_start, keep_end, split or drop",
  });
}

function targeted(outcome: TruncationOutcome, samples: readonly Sample[]): Truncated {
  const kept = samples.filter((sample) => targetsOf(sample) > 0);
  return kept.length > 0 ? { outcome, samples: kept } : { outcome: "untargeted", samples: [] };
}

/** Pieces overlap by one token: a piece's first token is context only, being the last one's target. */
function split(sample: Sample, maxLength: number): Sample[] {
  const pieces: Sample[] = [];
  const step = Math.max(1, maxLength - 1);
  for (let start = 0; start < sample.inputIds.length - 1; start += step)
    pieces.push(slice(sample, start, start + maxLength));
  return pieces;
}

/** Where to end at the latest so that no image is cut. */
const beforeImage = ({ images = [] }: Sample, end: number): number =>
  images.find((image) => image.start < end && image.end > end)?.start ?? end;

/** The first label of a slice has nothing before it to be predicted from. */
function slice(sample: Sample, start: number, end: number | undefined): Sample {
  const labels = sample.labels.slice(start, end);
  if (start > 0) labels[0] = IGNORED_LABEL;
  const { contextLength, positionIds, images, ...rest } = sample;
  const kept = images
    ?.filter((image) => image.start >= start && image.end <= start + labels.length)
    .map((image) => ({ ...image, start: image.start - start, end: image.end - start }));
  return {
    ...rest,
    inputIds: sample.inputIds.slice(start, end),
    labels,
    ...(kept && kept.length > 0 && { images: kept }),
    ...(contextLength !== undefined && {
      contextLength: Math.min(Math.max(0, contextLength - start), labels.length),
    }),
    ...(positionIds && {
      positionIds: positionIds.slice(start, end).map((position) => Math.max(0, position - start)),
    }),
  };
}
