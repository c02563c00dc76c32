// A config.json as the metadata of a GGUF file: the way back of gguf-config.ts. Keys are those of
// llama.cpp's converter; what llama.cpp would compute otherwise is refused.

import { TunesmithError } from "../../errors.ts";
import { isJsonObject, type JsonObject } from "../json-file.ts";
import type { GgufArchitecture } from "./gguf-architectures.ts";
import type { GgufEntry } from "./gguf-writer.ts";

type Entries = (readonly [key: string, value: GgufEntry])[];

const number = (value: unknown, fallback?: number): number => Number(value ?? fallback);

/** What Transformers takes for a key that is absent or null. */
const THETA: Readonly<Record<string, number>> = { mixtral: 1e6 };
const EPSILON: Readonly<Record<string, number>> = { mixtral: 1e-5 };
const HEAD_SIZE: Readonly<Record<string, number>> = { qwen3: 128 };

/** Sizes of a head and the rotary settings, wherever config.json has them. */
function headsOf(config: JsonObject, { modelType }: GgufArchitecture) {
  const heads = number(config.num_attention_heads);
  const usual = HEAD_SIZE[modelType] ?? number(config.hidden_size) / heads;
  const rope = [config.rope_parameters, config.rope_scaling].find(isJsonObject) ?? {};
  return {
    heads,
    keyValueHeads: number(config.num_key_value_heads, heads),
    headSize: number(config.head_dim, usual),
    rope,
    theta: number(rope.rope_theta ?? config.rope_theta, THETA[modelType] ?? 10000),
  };
}

/**
 * @param source for errors
 * @throws TunesmithError (checkpoint) for a scaling of positions that llama.cpp computes otherwise
 */
export function configEntries(
  config: JsonObject,
  architecture: GgufArchitecture,
  source: string,
): Entries {
  const { modelType, hasExperts } = architecture;
  const { heads, keyValueHeads, headSize, rope, theta } = headsOf(config, architecture);
  const positions = number(config.max_position_embeddings, 2048);
  const own: Entries = [
    ["block_count", { uint32: number(config.num_hidden_layers) }],
    // llama.cpp has no windows here: within one, positions see each other as they were trained to.
    ["context_length", { uint32: Math.min(positions, windowOf(config, modelType) ?? positions) }],
    ["embedding_length", { uint32: number(config.hidden_size) }],
    ["feed_forward_length", { uint32: number(config.intermediate_size) }],
    ["attention.head_count", { uint32: heads }],
    ["attention.head_count_kv", { uint32: keyValueHeads }],
    ["attention.key_length", { uint32: headSize }],
    ["attention.value_length", { uint32: headSize }],
    [
      "attention.layer_norm_rms_epsilon",
      { float32: number(config.rms_norm_eps, EPSILON[modelType] ?? 1e-6) },
    ],
    ["rope.dimension_count", { uint32: headSize }],
    ["rope.freq_base", { float32: theta }],
    ["vocab_size", { uint32: number(config.vocab_size) }],
    ...scalingEntries(rope, positions, source),
  ];
  if (hasExperts)
    own.push(
      ["expert_count", { uint32: number(config.num_local_experts, 8) }],
      ["expert_used_count", { uint32: number(config.num_experts_per_tok, 2) }],
    );
  return own.map(([key, value]) => [`${architecture.name}.${key}`, value]);
}

/** How far back a position sees, where a model has a window. */
function windowOf(config: JsonObject, modelType: string): number | undefined {
  if (modelType !== "mistral" && modelType !== "mixtral") return undefined;
  const window = config.sliding_window ?? undefined;
  if (window !== undefined) return Number(window);
  // A mistral's config.json without the key means the published window.
  return modelType === "mistral" && !("sliding_window" in config) ? 4096 : undefined;
}

function scalingEntries(rope: JsonObject, positions: number, source: string): Entries {
  const kind = rope.rope_type ?? rope.type ?? "default";
  // Factors of the frequencies say this one: `ropeFactors`.
  if (kind === "default" || kind === "llama3") return [];
  const factor: [string, GgufEntry] = ["rope.scaling.factor", { float32: number(rope.factor) }];
  if (kind === "linear") return [["rope.scaling.type", { string: "linear" }], factor];
  const own = ["attention_factor", "mscale", "mscale_all_dim"].find((key) => rope[key] != null);
  if (kind === "yarn" && own === undefined && rope.truncate !== false) {
    const original = number(rope.original_max_position_embeddings, positions);
    const stretch = number(rope.factor, positions / original);
    return [
      ["rope.scaling.type", { string: "yarn" }],
      ["rope.scaling.factor", { float32: stretch }],
      ["rope.scaling.original_context_length", { uint32: original }],
      ["rope.scaling.yarn_beta_fast", { float32: number(rope.beta_fast, 32) }],
      ["rope.scaling.yarn_beta_slow", { float32: number(rope.beta_slow, 1) }],
    ];
  }
  throw new TunesmithError("checkpoint", {
    where: `${source}: rope_parameters`,
    rule: "scalings that a GGUF says are linear, llama3, and yarn with its usual attention factor",
    seen: kind === "yarn" ? `yarn with ${own ?? "truncate: false"}` : JSON.stringify(kind),
    fix: "keep this model as a model folder: tunesmith merge",
  });
}

/**
 * What the rotary frequencies are divided by, [headSize / 2], where the scaling is "llama3": 1 for short
 * wavelengths, `factor` for long ones, 1 / (s + (1 - s) / factor) between (Llama 3.1).
 */
export function ropeFactors(
  config: JsonObject,
  architecture: GgufArchitecture,
): Float32Array | undefined {
  const { headSize, rope, theta } = headsOf(config, architecture);
  if ((rope.rope_type ?? rope.type) !== "llama3") return undefined;
  const [factor, low] = [number(rope.factor), number(rope.low_freq_factor)];
  const high = number(rope.high_freq_factor);
  return Float32Array.from({ length: headSize / 2 }, (_, i) => {
    const turns =
      (number(rope.original_max_position_embeddings) * theta ** ((-2 * i) / headSize)) /
      (2 * Math.PI);
    const smooth = Math.min(1, Math.max(0, (turns - low) / (high - low)));
    return 1 / (smooth + (1 - smooth) / factor);
  });
}
