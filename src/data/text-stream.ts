// Text files as a stream of decoded pieces or lines, in bounded memory whatever the file's size.
// Files that are not UTF-8 text (UTF-16, gzip, stray bytes) are refused with what they seem to be.

import { createReadStream } from "node:fs";
import { TextDecoder } from "node:util";
import { TunesmithError } from "../errors.ts";

/** No single line or record may be longer, in UTF-16 units: a file without line ends must not fill the memory. */
export const MAX_RECORD_LENGTH = 16 * 2 ** 20;

export interface Line {
  readonly text: string;
  /** Counted from 1. */
  readonly number: number;
}

/**
 * A file's text in pieces as they are read; a byte order mark at its start is left out.
 *
 * @throws TunesmithError (data) when the file cannot be read or is not UTF-8.
 */
export async function* readTextPieces(path: string): AsyncGenerator<string> {
  const decoder = new TextDecoder("utf-8", { fatal: true });
  let lines = 1;
  let started = false;
  for await (const chunk of readChunks(path)) {
    if (!started) refuseForeignEncoding(path, chunk);
    started = true;
    const piece = decode(path, decoder, chunk, lines);
    lines += countLineEnds(piece);
    if (piece.length > 0) yield piece;
  }
  decode(path, decoder, undefined, lines);
}

/**
 * A file's lines without their ends ("\n" or "\r\n"; the characters U+2028 and U+2029, which JSON
 * allows inside strings, end no line).
 *
 * @throws TunesmithError (data) as readTextPieces, and for a line over MAX_RECORD_LENGTH.
 */
export async function* readLines(path: string): AsyncGenerator<Line> {
  let pending = "";
  let number = 1;
  for await (const piece of readTextPieces(path)) {
    let start = 0;
    for (let end = piece.indexOf("\n"); end >= 0; end = piece.indexOf("\n", start)) {
      yield { text: withoutReturn(pending + piece.slice(start, end)), number: number++ };
      pending = "";
      start = end + 1;
    }
    pending += piece.slice(start);
    if (pending.length > MAX_RECORD_LENGTH) throw recordTooLong(`${path}:${number}`);
  }
  if (pending.length > 0) yield { text: withoutReturn(pending), number };
}

/** The fault of a record over MAX_RECORD_LENGTH. */
export function recordTooLong(where: string): TunesmithError {
  return new TunesmithError("data", {
    where,
    rule: `a line or record is at most ${MAX_RECORD_LENGTH / 2 ** 20} Mi characters`,
    seen: "a longer one",
    fix: "check that the file has the format its name says, with one record a line",
  });
}

/** Cuts what a fault quotes of the user's data to a readable length. */
export function excerpt(text: string, length = 80): string {
  const oneLine = text.replaceAll(/\s+/g, " ").trim();
  return oneLine.length <= length ? oneLine : `${oneLine.slice(0, length - 1)}…`;
}

async function* readChunks(path: string): AsyncGenerator<Uint8Array> {
  try {
    for await (const chunk of createReadStream(path, { highWaterMark: 2 ** 18 }))
      yield chunk as Uint8Array;
  } catch (cause) {
    throw new TunesmithError(
      "data",
      {
        where: path,
        rule: "a data file must be readable",
        seen: (cause as Error).message,
        fix: "check the path and its permissions",
      },
      { cause },
    );
  }
}

const FOREIGN_STARTS = [
  { bytes: [0xff, 0xfe], name: "UTF-16 text", fix: "save it as UTF-8" },
  { bytes: [0xfe, 0xff], name: "UTF-16 text", fix: "save it as UTF-8" },
  { bytes: [0x1f, 0x8b], name: "gzip data", fix: "unpack it first (gunzip)" },
  { bytes: [0x28, 0xb5, 0x2f, 0xfd], name: "zstd data", fix: "unpack it first (unzstd)" },
  { bytes: [0x50, 0x4b, 0x03, 0x04], name: "a zip archive", fix: "unpack it first (unzip)" },
  { bytes: [0x50, 0x41, 0x52, 0x31], name: "a Parquet file", fix: "name it .parquet" },
];

function refuseForeignEncoding(path: string, chunk: Uint8Array): void {
  const foreign = FOREIGN_STARTS.find(({ bytes }) => bytes.every((byte, i) => chunk[i] === byte));
  if (foreign)
    throw new TunesmithError("data", {
      where: path,
      rule: "this kind of file must be UTF-8 text",
      seen: foreign.name,
      fix: foreign.fix,
    });
}

function decode(
  path: string,
  decoder: TextDecoder,
  chunk: Uint8Array | undefined,
  line: number,
): string {
  try {
    return chunk ? decoder.decode(chunk, { stream: true }) : decoder.decode();
  } catch (cause) {
    const lenient = new TextDecoder().decode(chunk);
    const readable = lenient.slice(0, Math.max(0, lenient.indexOf("\ufffd")));
    throw new TunesmithError(
      "data",
      {
        where: `${path}:${line + countLineEnds(readable)}`,
        rule: "text must be UTF-8",
        seen: `bytes that are not, after "${excerpt(readable.slice(-30))}"`,
        fix: "convert the file to UTF-8 (iconv -f latin1 -t utf-8, say)",
      },
      { cause },
    );
  }
}

function countLineEnds(text: string): number {
  let count = 0;
  for (let at = text.indexOf("\n"); at >= 0; at = text.indexOf("\n", at + 1)) count++;
  return count;
}

function withoutReturn(line: string): string {
  return line.endsWith("\r") ? line.slice(0, -1) : line;
}
