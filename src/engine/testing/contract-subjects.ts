// What the contract's checks are about: every method on every architecture, opened as its entry says.

import type { Batch } from "../batch.ts";
import type { EngineModel, OpenOptions } from "../load.ts";
import { rows } from "./contract-batches.ts";
import { ON_EXPERTS } from "./expert-entries.ts";
import { ON_OTHER_NAMES } from "./fused-entries.ts";
import { METHODS, type MethodEntry } from "./method-entries.ts";
import { openTiny, type TinyModel } from "./tiny-models.ts";

/** Tiny models of each architecture, by `model_type`. */
export const ARCHITECTURES: Readonly<Record<string, readonly TinyModel[]>> = {
  gemma: ["gemma"],
  gemma2: ["gemma2"],
  gemma3_text: ["gemma3-text"],
  chatglm: ["chatglm"],
  falcon: ["falcon", "falcon-multi-query"],
  glm: ["glm"],
  glm4: ["glm4"],
  "glm-130b": ["glm-130b"],
  gpt2: ["gpt2"],
  gpt_neox: ["gpt-neox", "gpt-neox-sequential"],
  idefics3: ["idefics3"],
  llama: ["base", "untied-head", "biases", "head-dim"],
  mistral: ["mistral-window"],
  mixtral: ["mixtral"],
  olmo2: ["olmo2"],
  phi: ["phi"],
  phi3: ["phi3"],
  qwen2: ["qwen2"],
  qwen2_moe: ["qwen2-moe-mixed"],
  qwen3: ["qwen3"],
  qwen3_moe: ["qwen3-moe"],
  smolvlm: ["smolvlm"],
};

const ALL_ENTRIES: readonly MethodEntry[] = Object.values(METHODS).flat();
const named = (...names: string[]) => ALL_ENTRIES.filter(({ name }) => names.includes(name));

/**
 * One entry of each kind of hook: on architectures that differ from LLaMA in a part, the others would
 * show the same.
 */
const OF_EACH_KIND = named(
  "LoRA",
  "QLoRA",
  "full fine-tuning",
  "the last block",
  "LN tuning",
  "prompt tuning",
  "Pfeiffer's adapters",
);

/** Where projections are fused, what names them one by one finds none. */
const FUSED = [...OF_EACH_KIND.filter(({ name }) => name !== "LoRA"), ...named("DoRA")];

/** Scaled embeddings want larger steps of a prompt. */
const SCALED = [
  ...OF_EACH_KIND.filter(({ name }) => name !== "prompt tuning"),
  ...named("prompt tuning from noise"),
];

const WITH_EXPERTS = [
  ...ON_EXPERTS,
  ...named(
    "LN tuning",
    "prompt tuning",
    "prefix tuning",
    "Pfeiffer's adapters",
    "parallel adapters",
  ),
];

/** Which entries run on which model; where it is not named, all. */
const CHOSEN: Readonly<Partial<Record<TinyModel, readonly MethodEntry[]>>> = {
  gemma: named("LoRA", "LN tuning"),
  gemma2: SCALED,
  "gemma3-text": SCALED,
  chatglm: ON_OTHER_NAMES,
  falcon: ON_OTHER_NAMES,
  "falcon-multi-query": named("LoRA"),
  glm: named("LoRA", "Pfeiffer's adapters"),
  glm4: named("LoRA"),
  "glm-130b": [...ON_OTHER_NAMES, ...named("the last block")],
  gpt2: [...ON_OTHER_NAMES, ...named("the last block", "prompt tuning")],
  "gpt-neox": [...ON_OTHER_NAMES, ...named("the last block")],
  "gpt-neox-sequential": named("LoRA"),
  idefics3: [...OF_EACH_KIND, ...named("prefix tuning")],
  "mistral-window": OF_EACH_KIND,
  mixtral: WITH_EXPERTS,
  olmo2: OF_EACH_KIND,
  phi: OF_EACH_KIND,
  phi3: FUSED,
  qwen2: OF_EACH_KIND,
  "qwen2-moe-mixed": WITH_EXPERTS,
  qwen3: OF_EACH_KIND,
  "qwen3-moe": named("LoRA", "LN tuning"),
  smolvlm: named("LoRA"),
};

const pairsOf = (tiny: TinyModel) =>
  (CHOSEN[tiny] ?? ALL_ENTRIES).map((entry) => ({ tiny, method: entry.name, entry }));

/** Every model with the entries that tell something of it. */
export const EVERYWHERE = Object.values(ARCHITECTURES).flat().flatMap(pairsOf);

/** For what does not depend on a model's details: the first of each architecture. */
export const ON_FIRST_MODELS = Object.values(ARCHITECTURES).flatMap(([first]) => pairsOf(first!));

/** What a checkpoint keeps does not depend on the model's kind: a dense one and one with experts tell. */
export const RESUMED: ReadonlySet<TinyModel> = new Set(["base", "mixtral"]);

/** How a model with an entry's method is opened. */
export const openingOf = ({ options, quantization, data }: MethodEntry): OpenOptions => ({
  method: options,
  quantization,
  seed: 7,
  threads: 1,
  ...(data && { data: { batches: () => data } }),
});

/** A model with an entry's method, as it starts. */
export const openWith = (
  tiny: TinyModel,
  entry: MethodEntry,
  more: OpenOptions = {},
): Promise<EngineModel> => openTiny(tiny, { ...openingOf(entry), ...more });

/** Logits of the longer sample. */
export const logitsOf = async (model: EngineModel, batch: Batch = { inputIds: [rows[0]] }) =>
  (await model.forward(batch)).logits.data;
