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

const BLANK = 0x20;
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
  const known = new Map<string, KnownPiece>();
  for (const [id, { text, score, type }] of pieces.entries()) {
    if (type === BYTE) byteIds.set(Number.parseInt(text.slice(3, 5), 16), id);
    if (type !== NORMAL && type !== USER_DEFINED) continue;
    // What is defined by hand wins over whatever else it could be made of.
    const own = type === NORMAL ? score : Buffer.byteLength(text) * highest - 0.1;
    known.set(text, { id, score: Math.fround(own) });
  }

  const tree = createPrefixTree(known);

  const unknownIds = (character: number): number[] => {
    if (!byteFallback) return [unknownId];
    const bytes = Buffer.from(String.fromCodePoint(character));
    return [...bytes].map((byte) => byteIds.get(byte) ?? unknownId);
  };

  return {
    encode(text) {
      const characters = Int32Array.from(normalize(text), (one) => one.codePointAt(0)!);
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
        let node = ROOT;
        let isKnown = false;
        for (let to = from + 1; to <= count; to++) {
          node = tree.next(node, characters[to - 1]!);
          if (node === ROOT) break;
          const found = tree.pieces[node];
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

/** A piece that a text may match. */
interface KnownPiece {
  readonly id: number;
  readonly score: number;
}

const ROOT = 0;

/** Pieces by their characters: from a node and a character to the next node, if a piece goes on so. */
interface PrefixTree {
  /** ROOT where none goes on. */
  next(node: number, character: number): number;
  /** What ends at each node. */
  readonly pieces: readonly (KnownPiece | undefined)[];
}

/** A hash table of edges in flat arrays: a vocabulary has half a million of them. */
function createPrefixTree(known: ReadonlyMap<string, KnownPiece>): PrefixTree {
  const pieces: (KnownPiece | undefined)[] = [undefined];
  let most = 1;
  for (const text of known.keys()) most += text.length;
  const size = 2 ** Math.ceil(Math.log2(2 * most));
  const [nodes, characters, following] = [0, 1, 2].map(() => new Int32Array(size)) as [
    Int32Array,
    Int32Array,
    Int32Array,
  ];
  /** Where an edge is, or would be put. */
  const placeOf = (node: number, character: number): number => {
    let at = Math.imul(Math.imul(node, 0x9e3779b1) + character, 0x85ebca6b) >>> 7;
    for (; ; at++) {
      at &= size - 1;
      if (following[at] === ROOT) return at;
      if (nodes[at] === node && characters[at] === character) return at;
    }
  };
  for (const [text, piece] of known) {
    let node = ROOT;
    for (const one of text) {
      const character = one.codePointAt(0)!;
      const at = placeOf(node, character);
      if (following[at] === ROOT) {
        nodes[at] = node;
        characters[at] = character;
        following[at] = pieces.push(undefined) - 1;
      }
      node = following[at]!;
    }
    pieces[node] = piece;
  }
  return { next: (node, character) => following[placeOf(node, character)]!, pieces };
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
    const normal: number[] = [];
    let wasSpace = true;
    for (let at = 0; at < bytes.length; ) {
      const next = definedAt(bytes, at) ?? find(bytes, at) ?? characterAt(bytes, at);
      at += next.length;
      let from = 0;
      if (removeExtraWhitespaces && wasSpace) while (next.bytes[from] === BLANK) from++;
      for (let i = from; i < next.bytes.length; i++) normal.push(next.bytes[i]!);
      if (from < next.bytes.length) wasSpace = normal.at(-1) === BLANK;
    }
    if (normal.length === 0) return "";
    const read = DECODER.decode(Uint8Array.from(normal)).replaceAll(" ", SPACE);
    const marked = (addDummyPrefix ? SPACE : "") + read;
    return removeExtraWhitespaces ? marked.replace(/▁+$/, "") : marked;
  };
}

/** Bytes of the character of UTF-8 that starts with `first`. */
const characterLength = (first: number) =>
  first < 0x80 ? 1 : first < 0xe0 ? 2 : first < 0xf0 ? 3 : 4;
