// A tokenizer.json as the metadata of a GGUF file: the way back of gguf-tokenizer.ts. What llama.cpp has
// no words for is refused, since a file without it would read texts in another way.

import { TunesmithError } from "../../errors.ts";
import { isJsonObject, type JsonObject } from "../json-file.ts";
import { PIECE_TYPES } from "../tokenizers/sentencepiece-model.ts";
import type { TokenizerParts } from "../tokenizers/tokenizer.ts";
import { preTokenizerName } from "./gguf-pre-tokenizers.ts";
import { mergesFromScores } from "./gguf-tokenizer.ts";
import type { GgufEntry } from "./gguf-writer.ts";

type Entries = (readonly [key: string, value: GgufEntry])[];

interface Vocabulary {
  readonly tokens: readonly string[];
  readonly types: Int32Array;
  readonly ids: ReadonlyMap<string, number>;
}

type MakeFault = (rule: string, seen: string) => TunesmithError;

/**
 * @param rows of the embedding: ids without a token get one that nothing makes, as llama.cpp has it
 * @param ends ids that end a text, as `generation_config.json` has them
 * @throws TunesmithError (checkpoint) for tokenizers that a GGUF file cannot hold
 */
export function tokenizerEntries(
  parts: TokenizerParts,
  { rows, ends }: { readonly rows: number; readonly ends: readonly number[] },
): Entries {
  const { definition, source, chatTemplate } = parts;
  const fault: MakeFault = (rule, seen) =>
    new TunesmithError("checkpoint", {
      where: `${source} (tokenizer)`,
      rule,
      seen,
      fix: "convert the merged model folder with llama.cpp, if that has words for it",
    });
  const model = isJsonObject(definition.model) ? definition.model : {};
  const kind = kindOf(definition, model, fault);
  const vocabulary = readVocabulary(definition, model, kind, rows, fault);
  const entries: Entries = [
    ["tokenizer.ggml.model", { string: kind }],
    ...(kind === "gpt2"
      ? byteLevelEntries(definition, model, fault)
      : sentencePieceEntries(definition, model, vocabulary, fault)),
    ["tokenizer.ggml.tokens", { strings: vocabulary.tokens }],
    ["tokenizer.ggml.token_type", { int32s: vocabulary.types }],
    ...specialEntries(parts, vocabulary, ends, fault),
  ];
  if (chatTemplate !== undefined)
    entries.push(["tokenizer.chat_template", { string: chatTemplate }]);
  return entries;
}

/** llama.cpp's name of the algorithm: byte-level BPE or SentencePiece's. */
function kindOf(definition: JsonObject, model: JsonObject, fault: MakeFault): "gpt2" | "llama" {
  const type = model.type ?? (Array.isArray(model.merges) ? "BPE" : undefined);
  if (type !== "BPE")
    throw fault(
      "tokenizers that go into a GGUF are byte-level or SentencePiece BPE",
      `model.type ${JSON.stringify(type) ?? "absent"}`,
    );
  if (JSON.stringify(definition.pre_tokenizer ?? null).includes('"ByteLevel"')) return "gpt2";
  if (model.byte_fallback === true) return "llama";
  throw fault(
    "a BPE is byte-level or falls back to bytes",
    "neither ByteLevel in pre_tokenizer nor model.byte_fallback",
  );
}

function readVocabulary(
  definition: JsonObject,
  model: JsonObject,
  kind: "gpt2" | "llama",
  rows: number,
  fault: MakeFault,
): Vocabulary {
  const { UNKNOWN, CONTROL, USER_DEFINED, UNUSED, BYTE, NORMAL } = PIECE_TYPES;
  const tokens = Array.from({ length: rows }, (_, id) => `[PAD${id}]`);
  const types = new Int32Array(rows).fill(UNUSED);
  const put = (id: number, token: string, type: number) => {
    if (!(id < rows))
      throw fault(`the model's embedding has a row for every token`, `id ${id} of ${rows} rows`);
    tokens[id] = token;
    types[id] = type;
  };
  for (const [token, id] of Object.entries(model.vocab as Record<string, number>))
    put(id, token, kind === "llama" && /^<0x[0-9A-F]{2}>$/.test(token) ? BYTE : NORMAL);
  const added = Array.isArray(definition.added_tokens) ? definition.added_tokens : [];
  for (const { id, content, special } of added as AddedToken[]) {
    const isUnknown = kind === "llama" && content === model.unk_token;
    put(id, content, isUnknown ? UNKNOWN : special ? CONTROL : USER_DEFINED);
  }
  return { tokens, types, ids: new Map(tokens.map((token, id) => [token, id])) };
}

interface AddedToken {
  readonly id: number;
  readonly content: string;
  readonly special: boolean;
}

const mergesOf = (model: JsonObject): [string, string][] =>
  (model.merges as (string | [string, string])[]).map((merge) => {
    if (typeof merge !== "string") return merge;
    const at = merge.indexOf(" ", 1);
    return [merge.slice(0, at), merge.slice(at + 1)];
  });

function byteLevelEntries(definition: JsonObject, model: JsonObject, fault: MakeFault): Entries {
  const { normalizer = null, pre_tokenizer: preTokenizer } = definition;
  // llama.cpp normalises nothing; for text in composed form, which nearly all is, NFC does nothing.
  if (normalizer !== null && (normalizer as JsonObject).type !== "NFC")
    throw fault("llama.cpp takes a text as it is", `normalizer ${brief(normalizer)}`);
  const isIgnoring = model.ignore_merges === true;
  const name = preTokenizerName(preTokenizer, isIgnoring);
  if (name === undefined && isIgnoring && preTokenizerName(preTokenizer) !== undefined)
    throw fault("llama.cpp follows merges where words are cut so", "model.ignore_merges: true");
  if (name === undefined)
    throw fault(
      "words are cut in one of the ways that llama.cpp has a name for and tunesmith knows: those of GPT-2, SmolLM, Llama 3, Qwen2, GPT-4o and Falcon",
      `pre_tokenizer ${brief(preTokenizer)}`,
    );
  return [
    ["tokenizer.ggml.pre", { string: name }],
    ["tokenizer.ggml.add_space_prefix", { bool: false }],
    ["tokenizer.ggml.merges", { strings: mergesOf(model).map((pair) => pair.join(" ")) }],
  ];
}

/**
 * SentencePiece knows scores, tokenizer.json the merges that were made of them. Tokens score in the order
 * in which merges make them; that these scores give the merges again is checked.
 */
function sentencePieceEntries(
  definition: JsonObject,
  model: JsonObject,
  { tokens, types, ids }: Vocabulary,
  fault: MakeFault,
): Entries {
  const merges = mergesOf(model);
  const order = new Map<string, number>();
  for (const [left, right] of merges)
    if (!order.has(left + right)) order.set(left + right, order.size);
  let next = order.size;
  const scores = Float32Array.from(tokens, (token, id) =>
    types[id] === PIECE_TYPES.NORMAL ? -(order.get(token) ?? next++) : 0,
  );
  const isPlain = (token: string) => types[ids.get(token) ?? -1] === PIECE_TYPES.NORMAL;
  const asText = (pairs: readonly (readonly string[])[]) =>
    pairs
      .filter(([left, right]) => isPlain(left!) && isPlain(right!))
      .map((pair) => pair.join(" "));
  const [own, derived] = [asText(merges), asText(mergesFromScores(tokens, scores))];
  const known = new Set(own);
  const stranger = derived.find((merge) => !known.has(merge));
  if (own.length !== derived.length || stranger !== undefined)
    throw fault(
      "SentencePiece merges any two tokens that make a third",
      stranger === undefined ? "merges that make no token" : `no merge "${stranger}"`,
    );
  const steps = JSON.stringify([definition.normalizer ?? null, definition.pre_tokenizer ?? null]);
  const addsSpace = steps.includes('"Prepend"') || /"prepend_scheme":"(first|always)"/.test(steps);
  return [
    ["tokenizer.ggml.pre", { string: "default" }],
    ["tokenizer.ggml.add_space_prefix", { bool: addsSpace }],
    ["tokenizer.ggml.scores", { float32s: scores }],
  ];
}

const SPECIAL_NAMES = { bos: "bos", eos: "eos", unk: "unknown", pad: "padding" } as const;

function specialEntries(
  { definition, settings, chatTemplate }: TokenizerParts,
  { ids }: Vocabulary,
  ends: readonly number[],
  fault: MakeFault,
): Entries {
  const tokenOf = (name: string) => {
    const token = settings[`${name}_token`];
    return isJsonObject(token) ? token.content : token;
  };
  const entries: Entries = [];
  for (const [name, ggufName] of Object.entries(SPECIAL_NAMES)) {
    const id = ids.get(String(tokenOf(name)));
    if (id !== undefined) entries.push([`tokenizer.ggml.${ggufName}_token_id`, { uint32: id }]);
  }
  // Where a turn ends otherwise than a text; llama.cpp has room for one such token.
  const turnEnds = ends.filter((id) => id !== ids.get(String(tokenOf("eos"))));
  if (turnEnds.length === 1)
    entries.push(["tokenizer.ggml.eot_token_id", { uint32: turnEnds[0]! }]);
  const { before, after } = addedAround(definition.post_processor, fault);
  // GLM-4 begins with two tokens of its own, which its chat template writes.
  const isTemplates = before.length > 1 && chatTemplate?.includes(before.join("")) === true;
  for (const [name, added] of Object.entries({ bos: isTemplates ? [] : before, eos: after })) {
    if (added.some((token) => token !== tokenOf(name)) || added.length > 1)
      throw fault(
        `llama.cpp puts bos in front of a text and eos behind it, once each`,
        `post_processor adds ${brief(added)}`,
      );
    entries.push([`tokenizer.ggml.add_${name}_token`, { bool: added.length > 0 }]);
  }
  return entries;
}

/** What a post-processor puts in front of a single text and behind it. */
function addedAround(
  processor: unknown,
  fault: MakeFault,
): { before: readonly unknown[]; after: readonly unknown[] } {
  const nothing = { before: [], after: [] };
  if (!isJsonObject(processor) || processor.type === "ByteLevel") return nothing;
  if (processor.type === "Sequence" && Array.isArray(processor.processors)) {
    const all = processor.processors.map((each) => addedAround(each, fault));
    return { before: all.flatMap((one) => one.before), after: all.flatMap((one) => one.after) };
  }
  if (processor.type !== "TemplateProcessing" || !Array.isArray(processor.single))
    throw fault("a post-processor is a template", `post_processor ${brief(processor.type)}`);
  const ids = processor.single.map((step: JsonObject) =>
    isJsonObject(step.SpecialToken) ? step.SpecialToken.id : undefined,
  );
  const at = ids.indexOf(undefined);
  return { before: ids.slice(0, at), after: ids.slice(at + 1) };
}

const brief = (value: unknown) => JSON.stringify(value)?.slice(0, 120) ?? "absent";
