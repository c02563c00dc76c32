// Rotary position embeddings with the scalings that checkpoints use. Numbers follow Transformers'
// `modeling_rope_utils`, in single precision where it computes in single precision.

import type { RotaryTables } from "./architecture.ts";
import type { ConfigReader } from "./config-reader.ts";

export type RopeScaling =
  | { readonly kind: "default" }
  | { readonly kind: "linear"; readonly factor: number }
  | { readonly kind: "dynamic"; readonly factor: number; readonly originalPositions: number }
  | {
      readonly kind: "llama3";
      readonly factor: number;
      readonly lowFrequencyFactor: number;
      readonly highFrequencyFactor: number;
      readonly originalPositions: number;
    }
  | {
      readonly kind: "yarn";
      readonly factor: number;
      readonly originalPositions: number;
      readonly attentionFactor: number;
      readonly betaFast: number;
      readonly betaSlow: number;
      readonly truncate: boolean;
    };

export interface RopeConfig {
  readonly theta: number;
  /** Elements of a head that are rotated. */
  readonly headSize: number;
  readonly scaling: RopeScaling;
}

export interface RopeDefaults {
  readonly theta?: number;
  /** What the config calls theta outside of a section. */
  readonly thetaKey?: string;
  /** Where a part of each head is rotated: what the config calls its share, and the usual one. */
  readonly share?: { readonly key: string; readonly usual: number };
}

/**
 * Reads both forms: `rope_parameters` (Transformers 5), and `rope_theta` beside `rope_scaling`,
 * which most checkpoints carry.
 */
export function readRope(
  reader: ConfigReader,
  wholeHead: number,
  positions: number,
  { theta: usualTheta = 10000, thetaKey = "rope_theta", share }: RopeDefaults = {},
): RopeConfig {
  const section = reader.object("rope_parameters") ?? reader.object("rope_scaling");
  const theta =
    section?.has("rope_theta") === true
      ? section.number("rope_theta")
      : reader.number(thetaKey, usualTheta);
  const headSize = share ? rotatedSize(reader, section, wholeHead, share) : wholeHead;
  if (!section) return { theta, headSize, scaling: { kind: "default" } };
  const kinds = ["default", "linear", "dynamic", "llama3", "yarn"] as const;
  const kind = section.choice(section.has("rope_type") ? "rope_type" : "type", kinds, "default");
  if (!share) section.only("partial_rotary_factor", 1);
  return { theta, headSize, scaling: readScaling(kind, section, positions) };
}

/** How many elements of a head are rotated, rounded down as Transformers does. */
function rotatedSize(
  reader: ConfigReader,
  section: ConfigReader | undefined,
  wholeHead: number,
  { key, usual }: NonNullable<RopeDefaults["share"]>,
): number {
  const outside = () => reader.number(key, usual);
  const share = section?.has("partial_rotary_factor")
    ? section.number("partial_rotary_factor")
    : outside();
  const size = Math.floor(wholeHead * share);
  if (size % 2 !== 0 || size === 0 || size > wholeHead)
    reader.fault(key, "must leave an even number of elements of each head to rotate");
  return size;
}

function readScaling(
  kind: RopeScaling["kind"],
  section: ConfigReader,
  positions: number,
): RopeScaling {
  const originalPositions = () =>
    section.integer("original_max_position_embeddings", kind === "yarn" ? positions : undefined);
  switch (kind) {
    case "default":
      return { kind };
    case "linear":
      return { kind, factor: section.number("factor") };
    case "dynamic":
      return { kind, factor: section.number("factor"), originalPositions: positions };
    case "llama3":
      return {
        kind,
        factor: section.number("factor"),
        lowFrequencyFactor: section.number("low_freq_factor"),
        highFrequencyFactor: section.number("high_freq_factor"),
        originalPositions: originalPositions(),
      };
    case "yarn": {
      const original = originalPositions();
      const factor = section.number("factor", positions / original);
      const scaleOf = (weight: number) => (factor <= 1 ? 1 : 0.1 * weight * Math.log(factor) + 1);
      const byDimension = section.has("mscale") && section.has("mscale_all_dim");
      const inferred = byDimension
        ? scaleOf(section.number("mscale")) / scaleOf(section.number("mscale_all_dim"))
        : scaleOf(1);
      return {
        kind,
        factor,
        originalPositions: original,
        attentionFactor: section.number("attention_factor", inferred),
        betaFast: section.number("beta_fast", 32),
        betaSlow: section.number("beta_slow", 1),
        truncate: section.boolean("truncate", true),
      };
    }
  }
}

/** θ^(−2i/d) for i < d / 2, rounded as float32 arithmetic rounds it. */
function baseFrequencies(theta: number, headSize: number): number[] {
  return Array.from({ length: headSize / 2 }, (_, i) =>
    Math.fround(1 / Math.fround(theta ** Math.fround((2 * i) / headSize))),
  );
}

/** The frequency of each pair of dimensions, for sequences up to `length`. */
function frequencies({ theta, headSize, scaling }: RopeConfig, length: number): number[] {
  const base = baseFrequencies(theta, headSize);
  switch (scaling.kind) {
    case "default":
      return base;
    case "linear":
      return base.map((frequency) => frequency / scaling.factor);
    // NTK-aware: the base grows with the sequence once it is longer than in training.
    case "dynamic": {
      const longest = Math.max(length, scaling.originalPositions);
      const growth = (scaling.factor * longest) / scaling.originalPositions - (scaling.factor - 1);
      return baseFrequencies(theta * growth ** (headSize / (headSize - 2)), headSize);
    }
    // Long wavelengths are stretched, short ones kept, those between interpolated (Llama 3.1).
    case "llama3": {
      const { factor, lowFrequencyFactor: low, highFrequencyFactor: high } = scaling;
      return base.map((frequency) => {
        const turns = (scaling.originalPositions * frequency) / (2 * Math.PI);
        if (turns > high) return frequency;
        if (turns < low) return frequency / factor;
        const smooth = (turns - low) / (high - low);
        return ((1 - smooth) * frequency) / factor + smooth * frequency;
      });
    }
    // YaRN (Peng et al. 2023), section 3.2: interpolate slow dimensions, keep fast ones.
    case "yarn": {
      const dimensionOf = (turns: number) =>
        (headSize * Math.log(scaling.originalPositions / (turns * 2 * Math.PI))) /
        (2 * Math.log(theta));
      const round = scaling.truncate
        ? { down: Math.floor, up: Math.ceil }
        : { down: Number, up: Number };
      const low = Math.max(round.down(dimensionOf(scaling.betaFast)), 0);
      const reach = Math.min(round.up(dimensionOf(scaling.betaSlow)), headSize - 1);
      const high = reach === low ? low + 0.001 : reach;
      return base.map((frequency, i) => {
        const ramp = Math.min(Math.max((i - low) / (high - low), 0), 1);
        return (frequency / scaling.factor) * ramp + frequency * (1 - ramp);
      });
    }
  }
}

/** Tables [length, headSize / 2] for positions 0 … length − 1. */
export function rotaryTables(config: RopeConfig, length: number): RotaryTables {
  const pairs = frequencies(config, length).map(Math.fround);
  const amplitude = config.scaling.kind === "yarn" ? config.scaling.attentionFactor : 1;
  const cosines = new Float32Array(length * pairs.length);
  const sines = new Float32Array(length * pairs.length);
  for (let position = 0; position < length; position++)
    for (let i = 0; i < pairs.length; i++) {
      const angle = Math.fround(position * pairs[i]!);
      cosines[position * pairs.length + i] = Math.cos(angle) * amplitude;
      sines[position * pairs.length + i] = Math.sin(angle) * amplitude;
    }
  return { cosines, sines };
}
