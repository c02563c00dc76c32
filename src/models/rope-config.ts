// What config.json says of rotary position embeddings, in its old and its new spelling. Numbers follow
// Transformers' `modeling_rope_utils`.

import type { Dimensions, Reach } from "./architecture.ts";
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
    }
  | {
      readonly kind: "longrope";
      readonly originalPositions: number;
      readonly attentionFactor: number;
      /** Divisors of the frequencies, one each: of texts within the original length, and longer ones. */
      readonly shortFactors: readonly number[];
      readonly longFactors: readonly number[];
    };

export interface RopeConfig {
  readonly theta: number;
  /** Elements of a head that are rotated. */
  readonly size: number;
  readonly scaling: RopeScaling;
}

/** Values of keys that a config may leave out. */
export interface RopeDefaults {
  /** Default 10000. */
  readonly theta?: number;
  /** The share of a head that is rotated. Where absent, the config may not say another one than 1. */
  readonly share?: number;
}

/** What a config calls theta and the share outside of a section, where that has names of its own. */
export interface RopeKeys {
  /** Default rope_theta. */
  readonly theta?: string;
  /** Default partial_rotary_factor. */
  readonly share?: string;
}

/**
 * Reads both forms: `rope_parameters` (Transformers 5), and `rope_theta` beside `rope_scaling`,
 * which most checkpoints carry.
 */
export function readRope(
  reader: ConfigReader,
  headSize: number,
  positions: number,
  defaults: RopeDefaults = {},
  keys: RopeKeys = {},
): RopeConfig {
  const section = reader.object("rope_parameters") ?? reader.object("rope_scaling");
  return readRopeSection(reader, section, keys, headSize, positions, defaults);
}

/** The length beyond which tables are others, where there is one. */
export const rotarySwitch = ({ scaling }: RopeConfig): Pick<Dimensions, "rotarySwitch"> =>
  scaling.kind === "longrope" ? { rotarySwitch: scaling.originalPositions } : {};

/** Where layers that look far and layers that do not have a rotary embedding each (Gemma 3). */
export type RopeByReach = Readonly<Record<Reach, RopeConfig>>;

/**
 * Reads both forms: `rope_parameters` by layer type (Transformers 5), and `rope_theta` with `rope_scaling`
 * for the global ones beside `rope_local_base_freq`.
 * @param thetas where the config says none
 */
export function readRopeByReach(
  reader: ConfigReader,
  headSize: number,
  positions: number,
  thetas: Readonly<Record<Reach, number>>,
): RopeByReach {
  const byType = reader.object("rope_parameters");
  if (byType?.has("rope_type") || byType?.has("rope_theta"))
    reader.fault("rope_parameters", "must be by layer type: full_attention, sliding_attention");
  if (byType && reader.has("rope_scaling"))
    reader.fault("rope_scaling", "must be absent beside rope_parameters");
  const read = (reach: Reach, section: ConfigReader | undefined, theta: string) =>
    readRopeSection(reader, section, { theta }, headSize, positions, { theta: thetas[reach] });
  const scaling = reader.object("rope_scaling");
  return {
    global: read("global", byType?.object("full_attention") ?? scaling, "rope_theta"),
    local: read("local", byType?.object("sliding_attention"), "rope_local_base_freq"),
  };
}

const SHARE = "partial_rotary_factor";

function readRopeSection(
  reader: ConfigReader,
  section: ConfigReader | undefined,
  { theta: thetaKey = "rope_theta", share: shareKey = SHARE }: RopeKeys,
  headSize: number,
  positions: number,
  { theta: usualTheta = 10000, share: usualShare }: RopeDefaults,
): RopeConfig {
  const theta =
    section?.has("rope_theta") === true
      ? section.number("rope_theta")
      : reader.number(thetaKey, usualTheta);
  const isInside = section?.has(SHARE) === true;
  const [shareReader, ownKey] = isInside ? [section, SHARE] : [reader, shareKey];
  if (usualShare === undefined) shareReader.only(ownKey, 1);
  const share = usualShare && shareReader.number(ownKey, usualShare);
  const size = Math.trunc(headSize * (share ?? 1));
  if (share !== undefined && (size % 2 !== 0 || size === 0 || size > headSize))
    shareReader.fault(ownKey, `must rotate an even part of ${headSize} elements`);
  if (!section) return { theta, size, scaling: { kind: "default" } };
  const kinds = ["default", "linear", "dynamic", "llama3", "yarn", "longrope", "su"] as const;
  const named = section.choice(section.has("rope_type") ? "rope_type" : "type", kinds, "default");
  const kind = named === "su" ? "longrope" : named;
  return { theta, size, scaling: readScaling(kind, reader, section, positions, size / 2) };
}

function readScaling(
  kind: RopeScaling["kind"],
  reader: ConfigReader,
  section: ConfigReader,
  positions: number,
  pairs: number,
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
    case "longrope": {
      const key = "original_max_position_embeddings";
      // Phi-3 has it beside the section, where it comes first.
      const original = (reader.has(key) ? reader : section).integer(key, positions);
      const factor = section.number("factor", positions / original);
      const inferred = factor <= 1 ? 1 : Math.sqrt(1 + Math.log(factor) / Math.log(original));
      return {
        kind,
        originalPositions: original,
        attentionFactor: section.number("attention_factor", inferred),
        shortFactors: readFactors(section, "short_factor", pairs),
        longFactors: readFactors(section, "long_factor", pairs),
      };
    }
  }
}

function readFactors(section: ConfigReader, key: string, pairs: number): readonly number[] {
  const factors = section.list(key);
  if (factors.length !== pairs || factors.some((one) => !(typeof one === "number" && one > 0)))
    section.fault(key, `must be ${pairs} numbers above 0, one for each rotated pair`);
  return factors as readonly number[];
}
