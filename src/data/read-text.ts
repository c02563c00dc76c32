// Plain text: a file is one document, read in pieces that end at a paragraph where one ends in time.
// Each piece becomes a record { text }; what is longer than a training row is cut after tokenising.

import type { Row } from "./row.ts";
import { readLines } from "./text-stream.ts";

/** Past this many characters a piece ends at the next blank line, past twice as many at any line. */
const PIECE_LENGTH = 16_384;

/** Pieces keep their line ends; blank text gives no record. */
export async function* readText(path: string): AsyncGenerator<Row> {
  let lines: string[] = [];
  let length = 0;
  let firstLine = 1;
  const take = (): Row[] => {
    const text = lines.join("\n").trim();
    const row = { record: { text }, where: `${path}:${firstLine}` };
    lines = [];
    length = 0;
    return text === "" ? [] : [row];
  };
  for await (const line of readLines(path)) {
    if (lines.length === 0) firstLine = line.number;
    const blank = line.text.trim() === "";
    if (blank && lines.length === 0) continue;
    lines.push(line.text);
    length += line.text.length + 1;
    if (length >= (blank ? PIECE_LENGTH : 2 * PIECE_LENGTH)) yield* take();
  }
  yield* take();
}
