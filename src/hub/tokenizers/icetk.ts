// icetk, the tokenizer of GLM-130B and ChatGLM-6B: a SentencePiece model in `ice_text.model` whose ids come
// behind those of image tokens, with tokens for line ends, tabs and runs of spaces. Numbers and names are
// those of SwissArmyTransformer's `icetk-glm-130B` and of ChatGLM-6B's repository.

import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { TunesmithError } from "../../errors.ts";
import { isJsonObject, type JsonObject, readJsonObject } from "../json-file.ts";
import { createProtection, PROTECTION_MARK } from "../protect.ts";
import { PIECE_TYPES, type Piece, readSentencePieceModel } from "./sentencepiece-model.ts";
import type { Tokenizer } from "./tokenizer-types.ts";
import { createUnigram } from "./unigram.ts";

const ICETK_FILE = "ice_text.model";

/** Whether a folder of these files has icetk's tokenizer and no other. */
export const usesIcetk = (files: readonly string[]): boolean =>
  files.includes(ICETK_FILE) && !files.includes("tokenizer.json");

/** Ids in front of the pieces', where tokenizer_config.json has no `num_image_tokens`. */
const IMAGE_TOKENS = 20_000;
const SPECIAL = ["[MASK]", "[gMASK]", "[sMASK]", "<eod>", "<sop>", "<eop>", "<ENC>", "<dBLOCK>"];
const LINE_END = "<n>";
const TAB = "<|tab|>";
const LONGEST_BLANK = 80;
const blank = (length: number) => `<|blank_${length}|>`;
const BLANKS = Array.from({ length: LONGEST_BLANK - 1 }, (_, index) => blank(index + 2));

/** What the published file lacks and the libraries that read it add, in their order. */
const ADDED: readonly Piece[] = [
  ...SPECIAL.map((text) => ({ text, score: 0, type: PIECE_TYPES.CONTROL })),
  ...[TAB, ...BLANKS].map((text) => ({ text, score: 0, type: PIECE_TYPES.USER_DEFINED })),
  ...Array.from({ length: 256 }, (_, byte) => ({
    text: `<0x${byte.toString(16).toUpperCase().padStart(2, "0")}>`,
    score: 0,
    type: PIECE_TYPES.BYTE,
  })),
];

/** Which of the tokens is which, where tokenizer_config.json does not say. */
const USUAL_NAMES = { eos_token: "</s>", pad_token: "<pad>" } as const;

/** Reads the tokenizer of a folder with `ice_text.model`. @throws TunesmithError (checkpoint) */
export async function loadIcetkFolder(folder: string): Promise<Tokenizer> {
  const path = join(folder, ICETK_FILE);
  const settings = (await readJsonObject(join(folder, "tokenizer_config.json"))) ?? {};
  return createIcetk(await readFile(path), settings, path);
}

/**
 * @param file of `ice_text.model`, with or without what the libraries add to it
 * @param settings of tokenizer_config.json
 * @throws TunesmithError (checkpoint) for a file that is no unigram model
 */
export function createIcetk(file: Uint8Array, settings: JsonObject, source: string): Tokenizer {
  const published = readSentencePieceModel(file, source);
  const isWhole = published.pieces.some(({ text }) => text === SPECIAL[0]);
  const model = isWhole
    ? published
    : { ...published, pieces: [...published.pieces, ...ADDED], byteFallback: true };
  const first = imageTokens(settings, isWhole, source);
  const unigram = createUnigram(model);
  const ids = new Map(model.pieces.map(({ text }, index) => [text, first + index]));
  const special = new Set(
    model.pieces.flatMap(({ text, type }) => (type === PIECE_TYPES.CONTROL ? [text] : [])),
  );
  const protect = createProtection([...special]);
  const specialIds = new Set([...special].map((text) => ids.get(text)!));
  const splitter = new RegExp(`(${[...special].map(escaped).join("|")})`);
  const pieceOf = (id: number) => model.pieces[id - first]?.text;
  const idOf = (name: keyof typeof USUAL_NAMES | "bos_token"): number | undefined => {
    const token = settings[name];
    const content = isJsonObject(token) ? token.content : token;
    const usual = name === "bos_token" ? undefined : USUAL_NAMES[name];
    return ids.get(typeof content === "string" ? content : (usual ?? ""));
  };
  const plainIds = (text: string) =>
    unigram.encode(withMarks(text.replaceAll(PROTECTION_MARK, ""))).map((piece) => first + piece);
  const plainText = (tokens: readonly number[]) =>
    withoutMarks(unigram.decode(tokens.map((id) => id - first)));

  const [bosTokenId, eosTokenId, padTokenId] = [
    idOf("bos_token"),
    idOf("eos_token"),
    idOf("pad_token"),
  ];
  const template = settings.chat_template;
  return {
    vocabularySize: first + model.pieces.length,
    ...(bosTokenId !== undefined && { bosTokenId }),
    ...(eosTokenId !== undefined && { eosTokenId }),
    ...(padTokenId !== undefined && { padTokenId }),
    ...(typeof template === "string" && { chatTemplate: template }),
    protect,
    encode(text, { parseSpecialTokens = true } = {}) {
      if (!parseSpecialTokens) return plainIds(text);
      return text
        .split(splitter)
        .flatMap((part) => (special.has(part) ? [ids.get(part)!] : plainIds(part)));
    },
    decode(tokenIds, { skipSpecialTokens = false } = {}) {
      let text = "";
      let plain: number[] = [];
      for (const id of tokenIds)
        if (!specialIds.has(id)) plain.push(id);
        else {
          text += plainText(plain) + (skipSpecialTokens ? "" : pieceOf(id));
          plain = [];
        }
      return text + plainText(plain);
    },
    tokenToId: (token) => ids.get(token),
    idToToken: pieceOf,
  };
}

/** Behind how many ids the pieces' own begin; files with everything in them are ChatGLM-6B's later ones. */
function imageTokens(settings: JsonObject, isWhole: boolean, source: string): number {
  const { num_image_tokens: count = isWhole ? 0 : IMAGE_TOKENS } = settings;
  if (typeof count === "number" && Number.isInteger(count) && count >= 0) return count;
  throw new TunesmithError("checkpoint", {
    where: `${source}: num_image_tokens of tokenizer_config.json`,
    rule: "is how many ids of images are in front of those of text",
    seen: JSON.stringify(count),
    fix: `write ${IMAGE_TOKENS}, or leave it out`,
  });
}

/** Line ends, tabs and runs of spaces as their tokens; a longer run than there are tokens for is several. */
const withMarks = (text: string) =>
  text
    .replaceAll("\n", LINE_END)
    .replaceAll("\t", TAB)
    .replaceAll(new RegExp(` {2,${LONGEST_BLANK}}`, "g"), ({ length }) => blank(length));

const withoutMarks = (text: string) =>
  text
    .replaceAll(LINE_END, "\n")
    .replaceAll(TAB, "\t")
    .replaceAll(/<\|blank_(\d+)\|>/g, (token, length) =>
      BLANKS.includes(token) ? " ".repeat(Number(length)) : token,
    );

const escaped = (text: string) => text.replaceAll(/[[\]|()<>\\^$.*+?{}]/g, "\\$&");
