// The sizes of a model, from config.json and from a GGUF file's metadata, and under either's keys again.

import type { JsonObject } from "../json-file.ts";
import {
  type Entries,
  type GgufArchitecture,
  type GgufFacts,
  type Sizes,
  settingOf,
} from "./gguf-architecture.ts";

/** Sizes as config.json says them, with Transformers' defaults. */
export function sizesOfConfig(config: JsonObject, architecture: GgufArchitecture): Sizes {
  const { keys, own } = architecture;
  const number = (key: string | undefined, fallback: number): number =>
    Number((key === undefined ? undefined : settingOf(config, key, architecture)) ?? fallback);
  const hidden = number(keys.hidden, Number.NaN);
  const heads = number(keys.heads, Number.NaN);
  const sizes = {
    layers: number(keys.layers, Number.NaN),
    positions: number(keys.positions, 2048),
    hidden,
    inner: number(keys.inner, 4 * hidden),
    heads,
    keyValueHeads: number(keys.keyValueHeads, heads),
    headSize: number(keys.headSize, hidden / heads),
    epsilon: number(keys.epsilon, 1e-6),
    vocabulary: number(keys.vocabulary, Number.NaN),
  };
  return { ...sizes, ...own?.sizes?.(config, sizes) };
}

const EPSILON_KEYS = {
  rms: "attention.layer_norm_rms_epsilon",
  layer: "attention.layer_norm_epsilon",
} as const;

/** @param context how many positions llama.cpp is told of */
export const sizeEntries = (
  sizes: Sizes,
  { norm }: Pick<GgufArchitecture, "norm">,
  context: number,
): Entries => [
  ["block_count", { uint32: sizes.layers }],
  ["context_length", { uint32: context }],
  ["embedding_length", { uint32: sizes.hidden }],
  ["feed_forward_length", { uint32: sizes.inner }],
  ["attention.head_count", { uint32: sizes.heads }],
  ["attention.head_count_kv", { uint32: sizes.keyValueHeads }],
  ["attention.key_length", { uint32: sizes.headSize }],
  ["attention.value_length", { uint32: sizes.headSize }],
  [EPSILON_KEYS[norm], { float32: sizes.epsilon }],
  ["vocab_size", { uint32: sizes.vocabulary }],
];

/** @throws TunesmithError (checkpoint) for a file without them */
export function sizesOfFile(facts: GgufFacts, { rope, norm }: GgufArchitecture): Sizes {
  const { dimension, optional, fault, tensors } = facts;
  const embedding = tensors.get("token_embd.weight");
  if (embedding?.shape.length !== 2) throw fault("the model has token_embd.weight", "none");
  const hidden = dimension("embedding_length");
  const heads = dimension("attention.head_count");
  // What is rotated is the whole head, where it may not be a part of it.
  const rotated = rope && rope.share === undefined ? optional("rope.dimension_count") : undefined;
  const headSize = optional("attention.key_length") ?? rotated ?? hidden / heads;
  if (!Number.isInteger(headSize) || headSize % 2 !== 0)
    throw fault("a head has an even number of dimensions", String(headSize));
  return {
    layers: dimension("block_count"),
    positions: dimension("context_length"),
    hidden,
    inner: dimension("feed_forward_length"),
    heads,
    keyValueHeads:
      optional("attention.head_count_kv") === undefined
        ? heads
        : dimension("attention.head_count_kv"),
    headSize,
    // A float32 in the file: the shortest decimal that is the same float32, so 1e-5 reads as 1e-5.
    epsilon: shortestFloat32(optional(EPSILON_KEYS[norm]) ?? 1e-5),
    vocabulary: embedding.shape[0]!,
  };
}

/** Sizes under the keys of config.json. */
export const sizesAsConfig = (sizes: Sizes, { keys }: Pick<GgufArchitecture, "keys">): JsonObject =>
  Object.fromEntries(Object.entries(keys).map(([size, key]) => [key, sizes[size as keyof Sizes]]));

/** The decimal with the fewest digits that is this float32. */
export function shortestFloat32(value: number): number {
  for (let digits = 1; digits <= 9; digits++) {
    const candidate = Number(value.toPrecision(digits));
    if (Math.fround(candidate) === Math.fround(value)) return candidate;
  }
  return value;
}
