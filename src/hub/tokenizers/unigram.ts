// Texts to pieces and back as SentencePiece does it with a unigram model (Kudo 2018): normalised, then cut
// where the sum of the pieces' scores is highest. @huggingface/tokenizers has such a model too, but no
// bytes for unknown characters in it, no map of characters, and no pieces that plain text must not match.

import { type Replacement, readCharacterMap } from "./character-map.ts";
import { PIECE_TYPES, type SentencePieceModel } from "./sentencepiece-model.ts";

export interface Unigram {
  encode(text: string): number[];
  /** Control pieces say nothing. */
  decode(ids: readonly number[]): string;
}

/** What stands for a space. */
const SPACE = "▁";
const DECODER = new TextDecoder("utf-8", { ignoreBOM: true });
const UNKNOWN_PENALTY = 10;
const UNKNOWN_TEXT = " \u2047 ";

/** @throws RangeError for a map of characters that is damaged */
export function createUnigram(model: SentencePieceModel): Unigram {
  const { pieces, byteFallback } = model;
  const { NORMAL, USER_DEFINED, UNKNOWN, BYTE } = PIECE_TYPES;
  const normalize = createNormalizer(model);
  const scores = pieces.filter(({ type }) => type === NORMAL).map(({ score }) => score);
  const [lowest, highest] = scores.reduce(
    ([low, high], score) => [Math.min(low, score), Math.max(high, score)],
    [Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY],
  );
  const unknownScore = Math.fround(lowest - UNKNOWN_PENALTY);
  const unknownId = pieces.findIndex(({ type }) => type === UNKNOWN);
  const byteIds = new Map<number, number>();
  /** Pieces that a text may match: their ids and scores. */
  const known = new Map<string, { readonly id: number; readonly score: number }>();
  let longest = 1;
  for (const [id, { text, score, type }] of pieces.entries()) {
    if (type === BYTE) byteIds.set(Number.parseInt(text.slice(3, 5), 16), id);
    if (type !== NORMAL && type !== USER_DEFINED) continue;
    // What is defined by hand wins over whatever else it could be made of.
    const own = type === NORMAL ? score : Buffer.byteLength(text) * highest - 0.1;
    known.set(text, { id, score: Math.fround(own) });
    longest = Math.max(longest, [...text].length);
  }

  const unknownIds = (character: string): number[] => {
    if (!byteFallback) return [unknownId];
    return [...Buffer.from(character)].map((byte) => byteIds.get(byte) ?? unknownId);
  };

  return {
    encode(text) {
      const characters = [...normalize(text)];
      const count = characters.length;
      /** The best way to each position: its score, and the piece that ends there. */
      const best = new Float32Array(count + 1);
      const starts = new Int32Array(count + 1).fill(-1);
      const ids = new Int32Array(count + 1).fill(-1);
      const offer = (from: number, to: number, id: number, score: number) => {
        const sum = Math.fround(best[from]! + score);
        if (starts[to] !== -1 && sum <= best[to]!) return;
        best[to] = sum;
        starts[to] = from;
        ids[to] = id;
      };
      for (let from = 0; from < count; from++) {
        let piece = "";
        let isKnown = false;
        for (let to = from + 1; to <= count && to - from <= longest; to++) {
          piece += characters[to - 1];
          const found = known.get(piece);
          if (!found) continue;
          offer(from, to, found.id, found.score);
          if (to === from + 1) isKnown = true;
        }
        if (!isKnown) offer(from, from + 1, -1, unknownScore);
      }
      const found: number[][] = [];
      let isUnknown = false;
      for (let to = count; to > 0; to = starts[to]!) {
        if (ids[to]! >= 0) found.push([ids[to]!]);
        // Unknown characters in a row are one piece, unless they are spelt.
        else if (byteFallback || !isUnknown) found.push(unknownIds(characters[to - 1]!));
        isUnknown = ids[to]! < 0;
      }
      return found.reverse().flat();
    },
    decode(ids) {
      let text = "";
      let bytes: number[] = [];
      let atStart = true;
      const spell = () => {
        text += DECODER.decode(Uint8Array.from(bytes));
        bytes = [];
      };
      for (const id of ids) {
        const piece = pieces[id];
        if (piece === undefined || piece.type === PIECE_TYPES.CONTROL) continue;
        if (piece.type === BYTE) {
          bytes.push(Number.parseInt(piece.text.slice(3, 5), 16));
          atStart = false;
          continue;
        }
        if (bytes.length > 0) spell();
        if (piece.type === UNKNOWN) text += UNKNOWN_TEXT;
        else {
          const drops = atStart && (model.addDummyPrefix || model.removeExtraWhitespaces);
          const own = drops && piece.text.startsWith(SPACE) ? piece.text.slice(1) : piece.text;
          text += own.replaceAll(SPACE, " ");
          // Where spaces are removed, all those in front go.
          if (drops && model.removeExtraWhitespaces && text === "") continue;
        }
        atStart = false;
      }
      if (bytes.length > 0) spell();
      return text;
    },
  };
}

/** SentencePiece's `Normalizer::Normalize`, over bytes, as its map of characters is. */
function createNormalizer(model: SentencePieceModel): (text: string) => string {
  const { addDummyPrefix, removeExtraWhitespaces } = model;
  const find = readCharacterMap(model.characterMap);
  const encoder = new TextEncoder();
  /** Pieces that are left as they are, by their first byte, longest first. */
  const defined = new Map<number, Uint8Array[]>();
  for (const { text, type } of model.pieces) {
    if (type !== PIECE_TYPES.USER_DEFINED) continue;
    const bytes = encoder.encode(text);
    const alike = defined.get(bytes[0]!) ?? [];
    defined.set(
      bytes[0]!,
      [...alike, bytes].sort((a, b) => b.length - a.length),
    );
  }
  const definedAt = (bytes: Uint8Array, at: number): Replacement | undefined => {
    const own = defined
      .get(bytes[at]!)
      ?.find((one) => one.every((byte, index) => bytes[at + index] === byte));
    return own && { length: own.length, bytes: own };
  };
  const characterAt = (bytes: Uint8Array, at: number): Replacement => {
    const length = characterLength(bytes[at]!);
    return { length, bytes: bytes.subarray(at, at + length) };
  };
  return (text) => {
    const bytes = encoder.encode(text);
    const parts: string[] = [];
    let wasSpace = true;
    for (let at = 0; at < bytes.length; ) {
      const next = definedAt(bytes, at) ?? find(bytes, at) ?? characterAt(bytes, at);
      at += next.length;
      let part = DECODER.decode(next.bytes);
      if (removeExtraWhitespaces && wasSpace) part = part.replace(/^ +/, "");
      if (part === "") continue;
      parts.push(part);
      wasSpace = part.endsWith(" ");
    }
    if (parts.length === 0) return "";
    const normal = (addDummyPrefix ? SPACE : "") + parts.join("").replaceAll(" ", SPACE);
    return removeExtraWhitespaces ? normal.replace(/▁+$/, "") : normal;
  };
}

/** Bytes of the character of UTF-8 that starts with `first`. */
const characterLength = (first: number) =>
  first < 0x80 ? 1 : first < 0xe0 ? 2 : first < 0xf0 ? 3 : 4;
