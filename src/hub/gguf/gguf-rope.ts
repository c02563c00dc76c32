// Rotary position embeddings as GGUF files say them, from config.json and back: base, part of a head, scaling.

import { isJsonObject, type JsonObject } from "../json-file.ts";
import type { Entries, GgufArchitecture, GgufFacts, Sizes } from "./gguf-architecture.ts";
import { settingOf } from "./gguf-architecture.ts";
import { shortestFloat32 } from "./gguf-sizes.ts";

/** Divisors of the frequencies: those of "llama3", and LongRoPE's for long texts and for others. */
export const FACTOR_TENSORS = {
  llama3: "rope_freqs.weight",
  long: "rope_factors_long.weight",
  short: "rope_factors_short.weight",
} as const;

/** What a file holds of them. */
export type RopeFactors = Partial<Record<keyof typeof FACTOR_TENSORS, Float32Array>>;

/** `rope_parameters` as Transformers 5 spells them, wherever and however config.json says them. */
function ropeParameters(config: JsonObject, architecture: GgufArchitecture): JsonObject {
  const { theta, share, section, parameters } = architecture.rope!;
  if (parameters) return parameters(config);
  const byType = isJsonObject(config.rope_parameters) ? config.rope_parameters : {};
  const own = section === undefined ? config.rope_parameters : byType[section];
  const said = [own, config.rope_scaling].find(isJsonObject) ?? {};
  const outside = {
    rope_theta: settingOf(config, theta, architecture) ?? 10000,
    partial_rotary_factor: share === undefined ? 1 : settingOf(config, share, architecture),
  };
  // Phi-3 has LongRoPE's beside the section, where it comes first.
  const original = config.original_max_position_embeddings ?? said.original_max_position_embeddings;
  return {
    ...outside,
    ...said,
    ...(kindOf(said) === "longrope" && { original_max_position_embeddings: original }),
  };
}

const kindOf = ({ rope_type: kind, type }: JsonObject): unknown => {
  const named = kind ?? type ?? "default";
  return named === "su" ? "longrope" : named;
};

export interface WrittenRope {
  readonly entries: Entries;
  readonly factors: RopeFactors;
}

/**
 * @param positions as the model has them, whatever the file says of its context
 * @param refuse is told of a scaling that llama.cpp computes otherwise
 */
export function writtenRope(
  config: JsonObject,
  architecture: GgufArchitecture,
  { headSize, positions }: Pick<Sizes, "headSize" | "positions">,
  refuse: (key: string, rule: string, seen: string) => void,
): WrittenRope {
  if (!architecture.rope) return { entries: [], factors: {} };
  const rope = ropeParameters(config, architecture);
  const size = Math.trunc(headSize * Number(rope.partial_rotary_factor));
  const theta = Number(rope.rope_theta);
  const plain: Entries = [
    ["rope.dimension_count", { uint32: size }],
    ["rope.freq_base", { float32: theta }],
  ];
  const kind = kindOf(rope);
  const own = ["attention_factor", "mscale", "mscale_all_dim"].find((key) => rope[key] != null);
  const isUsual = kind !== "yarn" || (own === undefined && rope.truncate !== false);
  if (kind === "default") return { entries: plain, factors: {} };
  const { scalings } = architecture.rope;
  const scaling = scalings.includes(String(kind)) && isUsual ? SCALINGS[String(kind)] : undefined;
  if (!scaling) {
    const seen = kind === "yarn" && !isUsual ? `yarn with ${own ?? "truncate: false"}` : kind;
    const usual = scalings.map((name) => (name === "yarn" ? "yarn with its usual factor" : name));
    refuse(
      "rope_parameters",
      `scalings that llama.cpp has for it are ${usual.join(", ")}`,
      String(seen),
    );
    return { entries: plain, factors: {} };
  }
  const written = scaling(rope, { size, theta, positions });
  return { entries: [...plain, ...written.entries], factors: written.factors };
}

interface Rotated {
  readonly size: number;
  readonly theta: number;
  readonly positions: number;
}

const SCALINGS: Readonly<Record<string, (rope: JsonObject, rotated: Rotated) => WrittenRope>> = {
  linear: ({ factor }) => ({
    entries: [
      ["rope.scaling.type", { string: "linear" }],
      ["rope.scaling.factor", { float32: Number(factor) }],
    ],
    factors: {},
  }),
  yarn(rope, { positions }) {
    const original = Number(rope.original_max_position_embeddings ?? positions);
    return {
      entries: [
        ["rope.scaling.type", { string: "yarn" }],
        ["rope.scaling.factor", { float32: Number(rope.factor ?? positions / original) }],
        ["rope.scaling.original_context_length", { uint32: original }],
        ["rope.scaling.yarn_beta_fast", { float32: Number(rope.beta_fast ?? 32) }],
        ["rope.scaling.yarn_beta_slow", { float32: Number(rope.beta_slow ?? 1) }],
      ],
      factors: {},
    };
  },
  /** 1 for short wavelengths, `factor` for long ones, 1 / (s + (1 - s) / factor) between (Llama 3.1). */
  llama3(rope, { size, theta }) {
    const [factor, low] = [Number(rope.factor), Number(rope.low_freq_factor)];
    const high = Number(rope.high_freq_factor);
    const original = Number(rope.original_max_position_embeddings);
    const llama3 = Float32Array.from({ length: size / 2 }, (_, i) => {
      const turns = (original * theta ** ((-2 * i) / size)) / (2 * Math.PI);
      const smooth = Math.min(1, Math.max(0, (turns - low) / (high - low)));
      return 1 / (smooth + (1 - smooth) / factor);
    });
    return { entries: [], factors: { llama3 } };
  },
  /** llama.cpp takes the long factors where the context that it was given is longer than the original. */
  longrope(rope, { positions }) {
    const original = Number(rope.original_max_position_embeddings ?? positions);
    const usual = longAttentionFactor(Number(rope.factor ?? positions / original), original);
    return {
      entries: [
        ["rope.scaling.original_context_length", { uint32: original }],
        ["rope.scaling.attn_factor", { float32: Number(rope.attention_factor ?? usual) }],
      ],
      factors: {
        long: Float32Array.from(rope.long_factor as number[]),
        short: Float32Array.from(rope.short_factor as number[]),
      },
    };
  },
};

/** What LongRoPE multiplies queries and keys with (Ding et al. 2024). */
const longAttentionFactor = (stretch: number, original: number): number =>
  stretch <= 1 ? 1 : Math.sqrt(1 + Math.log(stretch) / Math.log(original));

/** What config.json says of it. @throws TunesmithError (checkpoint) for a scaling that is not known */
export function ropeAsConfig(
  facts: GgufFacts,
  { rope }: GgufArchitecture,
  { headSize, positions }: Sizes,
  factors: RopeFactors,
): JsonObject {
  if (!rope) return {};
  const size = facts.optional("rope.dimension_count") ?? headSize;
  const theta = facts.optional("rope.freq_base") ?? 10000;
  const scaling = readScaling(facts, factors, { size, theta, positions });
  const share = shareOf(size, headSize);
  if (rope.config)
    return rope.config({ rope_theta: theta, partial_rotary_factor: share, ...scaling });
  const { original_max_position_embeddings: original } = scaling ?? {};
  return {
    [rope.theta]: theta,
    ...(rope.share !== undefined && { [rope.share]: share }),
    rope_scaling: scaling ?? null,
    // Transformers looks for LongRoPE's beside the section.
    ...(scaling?.rope_type === "longrope" && { original_max_position_embeddings: original }),
  };
}

/** The shortest decimal that gives so many elements of a head. */
function shareOf(size: number, headSize: number): number {
  for (let digits = 1; digits <= 15; digits++) {
    const share = Number((size / headSize).toPrecision(digits));
    if (Math.trunc(headSize * share) === size) return share;
  }
  return size / headSize;
}

function readScaling(
  { optional, metadata, fault }: GgufFacts,
  { llama3, long, short }: RopeFactors,
  rotated: Rotated,
): JsonObject | undefined {
  if (llama3) return llama3Scaling(llama3, rotated, fault);
  const { positions } = rotated;
  const original = optional("rope.scaling.original_context_length");
  if (long && short) {
    const attention = optional("rope.scaling.attn_factor") ?? 1;
    const usual = longAttentionFactor(positions / (original ?? positions), original ?? positions);
    return {
      rope_type: "longrope",
      long_factor: Array.from(long, shortestFloat32),
      short_factor: Array.from(short, shortestFloat32),
      original_max_position_embeddings: original ?? positions,
      ...(Math.fround(usual) !== Math.fround(attention) && { attention_factor: attention }),
    };
  }
  const factor = optional("rope.scaling.factor") ?? optional("rope.scale_linear");
  const type = metadata.get(`${metadata.get("general.architecture")}.rope.scaling.type`);
  const kind = type ?? (factor !== undefined ? "linear" : "none");
  if (kind === "none" || factor === undefined || factor === 0 || factor === 1) return undefined;
  if (kind === "linear") return { rope_type: "linear", factor };
  if (kind === "yarn")
    return {
      rope_type: "yarn",
      factor,
      original_max_position_embeddings: original ?? Math.round(positions / factor),
      beta_fast: optional("rope.scaling.yarn_beta_fast") ?? 32,
      beta_slow: optional("rope.scaling.yarn_beta_slow") ?? 1,
    };
  throw fault(
    'rope.scaling.type is "none", "linear" or "yarn"',
    JSON.stringify(String(kind).slice(0, 40)),
    "use the model's Hugging Face folder",
  );
}

/**
 * Finds the "llama3" scaling behind `rope_freqs.weight`. In between the two plain bands, 1 / factor_i is
 * linear in the frequency: 1/factor + (1 - 1/factor) · (L·freq/2π - low) / (high - low). Only L/low and
 * L/high can be seen in it, so L (original_max_position_embeddings) is taken as 8192, Llama 3's.
 */
function llama3Scaling(
  factors: Float32Array,
  { theta, size }: Rotated,
  fault: GgufFacts["fault"],
): JsonObject {
  const original = 8192;
  const factor = factors.reduce((a, b) => Math.max(a, b), 1);
  const turns = (i: number) => (original * theta ** ((-2 * i) / size)) / (2 * Math.PI);
  const smooth = (i: number) => (1 / factors[i]! - 1 / factor) / (1 - 1 / factor);
  const inner = [...factors.keys()].filter((i) => smooth(i) > 1e-4 && smooth(i) < 1 - 1e-4);
  let low = 1;
  let high = 4;
  if (inner.length >= 2) {
    const first = inner[0]!;
    const last = inner.at(-1)!;
    const slope = (smooth(first) - smooth(last)) / (turns(first) - turns(last));
    low = roundTo(turns(last) - smooth(last) / slope);
    high = roundTo(low + 1 / slope);
  }
  const expected = (i: number) => {
    const s = Math.min(1, Math.max(0, (turns(i) - low) / (high - low)));
    return 1 / ((1 - s) / factor + s);
  };
  const misfit = [...factors.keys()].find((i) => !(Math.abs(expected(i) / factors[i]! - 1) < 1e-3));
  if (factors.length !== size / 2 || misfit !== undefined)
    throw fault(
      `${FACTOR_TENSORS.llama3} holds the factors of "llama3" scaling`,
      `${factors.length} factors that do not fit it`,
      "use the model's Hugging Face folder",
    );
  return {
    rope_type: "llama3",
    factor: shortestFloat32(factor),
    low_freq_factor: low,
    high_freq_factor: high,
    original_max_position_embeddings: original,
  };
}

/** Undoes float32 noise in a parameter that people write with few digits. */
function roundTo(value: number): number {
  return Math.round(value * 1000) / 1000;
}
