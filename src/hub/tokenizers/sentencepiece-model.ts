// A SentencePiece model file: its pieces with their scores, and how a text is normalised in front of them.
// Fields are those of the library's `sentencepiece_model.proto`.

import { TunesmithError } from "../../errors.ts";
import { bytesOf, type Fields, floatOf, numberOf, readFields, textOf } from "./protobuf.ts";

/** SentencePiece's types of pieces, and ggml's of tokens. */
export const PIECE_TYPES = {
  NORMAL: 1,
  UNKNOWN: 2,
  CONTROL: 3,
  USER_DEFINED: 4,
  UNUSED: 5,
  BYTE: 6,
} as const;

export interface Piece {
  readonly text: string;
  readonly score: number;
  /** One of `PIECE_TYPES`. */
  readonly type: number;
}

export interface SentencePieceModel {
  readonly pieces: readonly Piece[];
  /** Whether characters without a piece are spelt in bytes. */
  readonly byteFallback: boolean;
  /** How sequences of bytes are replaced, see `readCharacterMap`; empty: not at all. */
  readonly characterMap: Uint8Array;
  readonly addDummyPrefix: boolean;
  readonly removeExtraWhitespaces: boolean;
}

const UNIGRAM = 1;

/**
 * Reads a model file.
 * @param source what a fault names
 * @throws TunesmithError (checkpoint) for a file that is none, or of another kind than unigram
 */
export function readSentencePieceModel(file: Uint8Array, source: string): SentencePieceModel {
  const fault = (rule: string, seen: string, cause?: unknown) =>
    new TunesmithError(
      "checkpoint",
      { where: source, rule, seen, fix: "fetch the file again, from the model's own place" },
      { cause },
    );
  /** Messages that are written in parts are one. */
  const joined = (fields: Fields, field: number): Fields =>
    readFields(Buffer.concat((fields.get(field) ?? []).filter((part) => typeof part !== "number")));
  try {
    const model = readFields(file);
    const pieces = (model.get(1) ?? []).map((bytes): Piece => {
      const piece = readFields(bytes as Uint8Array);
      return { text: textOf(piece, 1), score: floatOf(piece, 2), type: numberOf(piece, 3, 1) };
    });
    const trainer = joined(model, 2);
    const normalizer = joined(model, 3);
    if (pieces.length === 0) throw new RangeError("no pieces");
    const kind = numberOf(trainer, 3, UNIGRAM);
    if (kind !== UNIGRAM) throw fault("is a unigram model of SentencePiece", `model_type ${kind}`);
    return {
      pieces,
      byteFallback: numberOf(trainer, 35, 0) === 1,
      characterMap: bytesOf(normalizer, 2) ?? new Uint8Array(),
      addDummyPrefix: numberOf(normalizer, 3, 1) === 1,
      removeExtraWhitespaces: numberOf(normalizer, 4, 1) === 1,
    };
  } catch (error) {
    if (error instanceof TunesmithError) throw error;
    throw fault("is a model file of SentencePiece", (error as Error).message, error);
  }
}
