// The tokenizer that lives in a GGUF's metadata, rebuilt as the tokenizer.json that it was made from.
// Kinds: "gpt2" (byte-level BPE with stored merges) and "llama" (SentencePiece BPE, whose merges
// follow from the scores).

import { TunesmithError } from "../../errors.ts";
import type { JsonObject } from "../json-file.ts";
import { PIECE_TYPES } from "../tokenizers/sentencepiece-model.ts";
import { createTokenizer, type TokenizerParts } from "../tokenizers/tokenizer.ts";
import type { Tokenizer } from "../tokenizers/tokenizer-types.ts";
import type { GgufFile } from "./gguf.ts";
import { ignoresMerges, PRE_TOKENIZERS } from "./gguf-pre-tokenizers.ts";
import type { GgufValue } from "./gguf-values.ts";

type GgufHeader = Pick<GgufFile, "path" | "metadata">;

/** Builds the tokenizer of a GGUF file. Throws a TunesmithError ("checkpoint") for kinds not known. */
export function loadTokenizerGguf(file: GgufHeader): Tokenizer {
  return createTokenizer(tokenizerPartsGguf(file));
}

/**
 * What generation_config.json would say of a GGUF: its special tokens, and as ends of a text those of
 * the text and of a turn.
 */
export function generationConfigGguf({ metadata }: Pick<GgufHeader, "metadata">): JsonObject {
  const id = (name: string) => {
    const value = metadata.get(`tokenizer.ggml.${name}_token_id`);
    return typeof value === "number" ? value : undefined;
  };
  const ends = [...new Set([id("eos"), id("eot")])].filter((value) => value !== undefined);
  const entries = {
    bos_token_id: id("bos"),
    eos_token_id: ends.length > 1 ? ends : ends[0],
    pad_token_id: id("padding"),
  };
  return Object.fromEntries(Object.entries(entries).filter(([, value]) => value !== undefined));
}

/** The tokenizer of a GGUF file as the files of a model folder would say it. Throws as above. */
export function tokenizerPartsGguf(file: GgufHeader): TokenizerParts {
  const { path, metadata } = file;
  const model = metadata.get("tokenizer.ggml.model");
  if (model !== "gpt2" && model !== "llama")
    throw fault(
      path,
      'tokenizer.ggml.model is "gpt2" or "llama"',
      model === undefined ? "no tokenizer in the file" : JSON.stringify(String(model).slice(0, 40)),
    );
  const vocabulary = readVocabulary(file);
  const id = (name: string) => {
    const value = metadata.get(`tokenizer.ggml.${name}_token_id`);
    return typeof value === "number" && value < vocabulary.tokens.length ? value : undefined;
  };
  const token = (name: string) => {
    const index = id(name);
    return index === undefined ? undefined : vocabulary.tokens[index];
  };
  const definition =
    model === "gpt2" ? byteLevelBpe(file, vocabulary) : sentencePieceBpe(file, vocabulary);
  const template = metadata.get("tokenizer.chat_template");
  return {
    source: path,
    definition: {
      ...definition,
      added_tokens: addedTokens(vocabulary),
      post_processor: postProcessor(file, model, id, token),
    },
    settings: {
      bos_token: token("bos"),
      eos_token: token("eos"),
      unk_token: token("unknown"),
      pad_token: token("padding"),
    },
    ...(typeof template === "string" && { chatTemplate: template }),
  };
}

interface Vocabulary {
  readonly tokens: readonly string[];
  readonly types: readonly number[];
}

function fault(where: string, rule: string, seen: string): TunesmithError {
  return new TunesmithError("checkpoint", {
    where,
    rule,
    seen,
    fix: "use the model's Hugging Face folder, or convert it again with a current llama.cpp",
  });
}

function readVocabulary({ path, metadata }: GgufHeader): Vocabulary {
  const tokens = metadata.get("tokenizer.ggml.tokens");
  if (!isTextList(tokens) || tokens.length === 0)
    throw fault(path, "tokenizer.ggml.tokens is a list of texts", "no such list");
  const types = metadata.get("tokenizer.ggml.token_type");
  const list = types === undefined ? tokens.map(() => 1) : numbers(types);
  if (list?.length !== tokens.length)
    throw fault(path, "every token has a type", `${tokens.length} tokens, ${list?.length} types`);
  return { tokens, types: list };
}

function isTextList(value: GgufValue | undefined): value is readonly string[] {
  return Array.isArray(value) && value.every((item) => typeof item === "string");
}

function numbers(value: GgufValue | undefined): number[] | undefined {
  if (!ArrayBuffer.isView(value)) return undefined;
  return Array.from(value as Exclude<typeof value, DataView>, Number);
}

function vocabularyIds({ tokens }: Vocabulary): Record<string, number> {
  return Object.fromEntries(tokens.map((token, index) => [token, index]));
}

function addedTokens({ tokens, types }: Vocabulary): JsonObject[] {
  const { UNKNOWN, CONTROL, USER_DEFINED } = PIECE_TYPES;
  return tokens.flatMap((content, id) => {
    const type = types[id]!;
    if (type !== CONTROL && type !== USER_DEFINED && type !== UNKNOWN) return [];
    return [{ id, content, special: type !== USER_DEFINED, normalized: false }];
  });
}

function byteLevelBpe(file: GgufHeader, vocabulary: Vocabulary): JsonObject {
  const { path, metadata } = file;
  const kind = metadata.get("tokenizer.ggml.pre") ?? "default";
  const preTokenizers = Object.hasOwn(PRE_TOKENIZERS, String(kind))
    ? PRE_TOKENIZERS[String(kind)]
    : undefined;
  if (!preTokenizers)
    throw fault(
      path,
      `tokenizer.ggml.pre is one of ${Object.keys(PRE_TOKENIZERS).join(", ")}`,
      JSON.stringify(String(kind).slice(0, 40)),
    );
  const merges = metadata.get("tokenizer.ggml.merges");
  if (!isTextList(merges)) throw fault(path, "tokenizer.ggml.merges is a list of texts", "none");
  return {
    pre_tokenizer: { type: "Sequence", pretokenizers: preTokenizers },
    decoder: { type: "ByteLevel" },
    model: {
      type: "BPE",
      vocab: vocabularyIds(vocabulary),
      merges: merges.map((merge) => splitMerge(path, merge)),
      ignore_merges: ignoresMerges(String(kind)),
    },
  };
}

/** "Ġ t" → ["Ġ", "t"]; the separator is the first space that is not the first character. */
function splitMerge(path: string, merge: string): [string, string] {
  const at = merge.indexOf(" ", 1);
  if (at < 0) throw fault(path, "a merge is two texts with a space between", JSON.stringify(merge));
  return [merge.slice(0, at), merge.slice(at + 1)];
}

function sentencePieceBpe(file: GgufHeader, vocabulary: Vocabulary): JsonObject {
  const { path, metadata } = file;
  const scores = numbers(metadata.get("tokenizer.ggml.scores"));
  if (scores?.length !== vocabulary.tokens.length)
    throw fault(path, "every token has a score", `${scores?.length ?? 0} scores`);
  const addsSpace = metadata.get("tokenizer.ggml.add_space_prefix") !== false;
  const spaces = { type: "Replace", pattern: { String: " " }, content: "▁" };
  const unknown = metadata.get("tokenizer.ggml.unknown_token_id") ?? 0;
  return {
    normalizer: addsSpace
      ? { type: "Sequence", normalizers: [{ type: "Prepend", prepend: "▁" }, spaces] }
      : spaces,
    decoder: {
      type: "Sequence",
      decoders: [
        { type: "Replace", pattern: { String: "▁" }, content: " " },
        { type: "ByteFallback" },
        { type: "Fuse" },
        ...(addsSpace ? [{ type: "Strip", content: " ", start: 1, stop: 0 }] : []),
      ],
    },
    model: {
      type: "BPE",
      vocab: vocabularyIds(vocabulary),
      merges: mergesFromScores(vocabulary.tokens, scores),
      byte_fallback: true,
      fuse_unk: true,
      unk_token: vocabulary.tokens[Number(unknown)],
    },
  };
}

/**
 * SentencePiece joins the neighbours whose union scores best; so every way of cutting a token into two
 * tokens is a merge, better scores first (ties: longer left part, then longer right part).
 */
export function mergesFromScores(
  tokens: readonly string[],
  scores: ArrayLike<number>,
): [string, string][] {
  const ids = new Map(tokens.map((token, id) => [token, id]));
  const merges: { left: string; right: string; score: number }[] = [];
  for (const [id, token] of tokens.entries()) {
    const ways = [];
    for (let cut = 1; cut < token.length; cut++) {
      const left = token.slice(0, cut);
      const right = token.slice(cut);
      if (ids.has(left) && ids.has(right)) ways.push({ left, right, score: scores[id]! });
    }
    ways.sort(
      (a, b) => ids.get(a.left)! - ids.get(b.left)! || ids.get(a.right)! - ids.get(b.right)!,
    );
    merges.push(...ways);
  }
  merges.sort(
    (a, b) => b.score - a.score || b.left.length - a.left.length || b.right.length - a.right.length,
  );
  return merges.map(({ left, right }) => [left, right]);
}

/** Where the file is silent, SentencePiece models begin with bos and so do those of Llama 3. */
function addsBos({ metadata }: GgufHeader, model: string): boolean {
  const stated = metadata.get("tokenizer.ggml.add_bos_token");
  if (typeof stated === "boolean") return stated;
  const kind = metadata.get("tokenizer.ggml.pre");
  return model === "llama" || kind === "llama-bpe" || kind === "llama3" || kind === "llama-v3";
}

function postProcessor(
  file: GgufHeader,
  model: string,
  idOf: (name: string) => number | undefined,
  token: (name: string) => string | undefined,
): JsonObject {
  const bos = addsBos(file, model) ? token("bos") : undefined;
  const eos = file.metadata.get("tokenizer.ggml.add_eos_token") === true ? token("eos") : undefined;
  const used = [...(bos ? ["bos"] : []), ...(eos ? ["eos"] : [])];
  const special = (id: string | undefined) =>
    id === undefined ? [] : [{ SpecialToken: { id, type_id: 0 } }];
  const sequence = (id: string) => ({ Sequence: { id, type_id: 0 } });
  const single = [...special(bos), sequence("A"), ...special(eos)];
  return {
    type: "TemplateProcessing",
    single,
    pair: [...single, ...special(bos), sequence("B"), ...special(eos)],
    special_tokens: Object.fromEntries(
      used.map((name) => {
        const id = token(name)!;
        return [id, { id, ids: [idOf(name)], tokens: [id] }];
      }),
    ),
  };
}
