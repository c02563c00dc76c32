// What config.json says of a decoder of LLaMA's kin.

import type { ActivationName } from "./activations.ts";
import type { Dimensions } from "./architecture.ts";
import type { ConfigReader } from "./config-reader.ts";
import { type RopeConfig, type RopeDefaults, readRope, rotarySwitch } from "./rope-config.ts";
import type { Windows } from "./sliding-window.ts";

export type AttentionProjection = "q_proj" | "k_proj" | "v_proj" | "o_proj";

/** What every one of them is made of. */
export interface LlamaLikeConfig extends Dimensions, Windows {
  readonly normEpsilon: number;
  readonly tiedHead: boolean;
  readonly rope: RopeConfig;
  /** Of layers that look back over the window, where it is another one. */
  readonly localRope?: RopeConfig;
  /** Those with a bias, where they are separate. Default: none. */
  readonly biasedProjections?: readonly AttentionProjection[];
  /** Of the dense feed-forward's gate. */
  readonly activation: ActivationName;
  /** Factor on the attention's scores. Default: 1 / √headSize. */
  readonly attentionScale?: number;
  /** See `AttentionInputs`. */
  readonly scoreCap?: number;
  /** See `LogitShape`. */
  readonly logitCap?: number;
}

/** Values of fields that config.json may leave out; what has none must be there. */
export interface Defaults {
  readonly normEpsilon: number;
  readonly rope?: RopeDefaults;
  readonly headSize?: number;
  readonly keyValueHeads?: "heads";
  readonly maximumPositions?: number;
  /** Default false. */
  readonly tiedHead?: boolean;
}

/** What may differ in how fields are read. */
export interface FieldReaders {
  /** Default: `hidden_act`, which has to be silu. */
  readonly activation?: (reader: ConfigReader) => ActivationName;
  /** Default: `readRope`. */
  readonly rope?: (
    reader: ConfigReader,
    headSize: number,
    positions: number,
  ) => Pick<LlamaLikeConfig, "rope" | "localRope">;
}

const readSilu = (reader: ConfigReader) => reader.choice("hidden_act", ["silu", "swish"], "silu");

/** The attention's but for its output (Qwen2). */
export const QKV_PROJECTIONS: readonly AttentionProjection[] = ["q_proj", "k_proj", "v_proj"];

/** Biases on all of the attention's projections, where `attention_bias` says so. */
export const readAttentionBias = (
  reader: ConfigReader,
): Pick<LlamaLikeConfig, "biasedProjections"> =>
  reader.boolean("attention_bias", false)
    ? { biasedProjections: ["q_proj", "k_proj", "v_proj", "o_proj"] }
    : {};

/** The fields that all have. Faults are the reader's, to be thrown by its `finish`. */
export function readLlamaLike(
  reader: ConfigReader,
  defaults: Defaults,
  { activation = readSilu, rope }: FieldReaders = {},
): LlamaLikeConfig {
  const hiddenSize = reader.integer("hidden_size");
  const heads = reader.integer("num_attention_heads");
  const keyValueHeads = reader.integer(
    "num_key_value_heads",
    defaults.keyValueHeads === "heads" ? heads : undefined,
  );
  const headSize = reader.integer("head_dim", defaults.headSize ?? hiddenSize / heads);
  const maximumPositions = reader.integer("max_position_embeddings", defaults.maximumPositions);
  if (heads % keyValueHeads !== 0)
    reader.fault("num_key_value_heads", "must divide num_attention_heads");
  if (headSize % 2 !== 0) reader.fault("head_dim", "must be even");
  const ropes = rope?.(reader, headSize, maximumPositions) ?? {
    rope: readRope(reader, headSize, maximumPositions, defaults.rope),
  };
  return {
    layers: reader.integer("num_hidden_layers"),
    hiddenSize,
    vocabularySize: reader.integer("vocab_size"),
    heads,
    keyValueHeads,
    headSize,
    rotarySize: ropes.rope.size,
    ...rotarySwitch(ropes.rope),
    maximumPositions,
    normEpsilon: reader.number("rms_norm_eps", defaults.normEpsilon),
    tiedHead: reader.boolean("tie_word_embeddings", defaults.tiedHead ?? false),
    ...ropes,
    activation: activation(reader),
  };
}
