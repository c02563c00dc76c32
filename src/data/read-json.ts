// A .json file: a list of records, records one after another, or an object that holds the list.
// Lists are cut into their elements while reading, so that a file larger than memory streams.

import { TunesmithError } from "../errors.ts";
import { parseObject } from "./read-jsonl.ts";
import type { Row } from "./row.ts";
import { excerpt, MAX_RECORD_LENGTH, readTextPieces, recordTooLong } from "./text-stream.ts";

/** Where an object that is not itself a record keeps its records. */
const LIST_COLUMNS = ["data", "train", "rows", "records", "examples"];

/** @throws TunesmithError (data) naming file, line and reason for what is not JSON. */
export async function* readJson(path: string): AsyncGenerator<Row> {
  let only: Row | undefined;
  let count = 0;
  for await (const { text, line } of splitValues(path)) {
    const row = { record: parseObject(text, `${path}:${line}`), where: `${path}:${line}` };
    count++;
    if (count === 1) only = row;
    else {
      if (only) yield only;
      only = undefined;
      yield row;
    }
  }
  if (only) yield* unwrap(only, path);
}

function* unwrap(row: Row, path: string): Generator<Row> {
  const list = LIST_COLUMNS.map((column) => row.record[column]).find(Array.isArray);
  if (!list) {
    yield row;
    return;
  }
  for (const [index, record] of list.entries()) {
    const where = `${path}[${index}]`;
    yield { record: parseObject(JSON.stringify(record), where), where };
  }
}

interface JsonValue {
  readonly text: string;
  readonly line: number;
}

/** The texts of the file's top-level values, or of the elements of its top-level list. */
async function* splitValues(path: string): AsyncGenerator<JsonValue> {
  let line = 1;
  let startLine = 1;
  let value = ""; // what was read of the value in progress
  let depth = 0; // brackets open inside it
  let inString = false;
  let escaped = false;
  let list: "none" | "open" | "closed" = "none";
  let expectComma = false;
  let values = 0;

  const fault = (seen: string, fix: string, cause?: unknown) =>
    new TunesmithError(
      "data",
      { where: `${path}:${line}`, rule: "the file must be a JSON list of objects", seen, fix },
      { cause },
    );

  for await (const piece of readTextPieces(path)) {
    let start = depth > 0 ? 0 : -1; // where the value in progress begins in this piece
    for (let at = 0; at < piece.length; at++) {
      const character = piece.charCodeAt(at);
      if (character === LINE_FEED) line++;
      if (inString) {
        if (escaped) escaped = false;
        else if (character === BACKSLASH) escaped = true;
        else if (character === QUOTE) inString = false;
        continue;
      }
      if (depth > 0) {
        if (character === QUOTE) inString = true;
        else if (character === OPEN_BRACE || character === OPEN_BRACKET) depth++;
        else if ((character === CLOSE_BRACE || character === CLOSE_BRACKET) && --depth === 0) {
          yield { text: value + piece.slice(start, at + 1), line: startLine };
          value = "";
          start = -1;
          values++;
          expectComma = list === "open";
        }
        continue;
      }
      if (character === SPACE || (character >= TAB && character <= CARRIAGE_RETURN)) continue;
      if (list === "open" && character === CLOSE_BRACKET) list = "closed";
      else if (list === "open" && expectComma && character === COMMA) expectComma = false;
      else if (list === "none" && values === 0 && character === OPEN_BRACKET) list = "open";
      else if (list !== "closed" && !expectComma && character === OPEN_BRACE) {
        depth = 1;
        start = at;
        startLine = line;
      } else
        throw fault(
          `"${excerpt(piece.slice(at, at + 40))}" where ${expected(list, expectComma)} should be`,
          "correct the file there; for one object a line, name it .jsonl",
        );
    }
    if (start >= 0) value += piece.slice(start);
    if (value.length > MAX_RECORD_LENGTH) throw recordTooLong(`${path}:${startLine}`);
  }
  if (depth > 0 || list === "open")
    throw fault(
      depth > 0 ? `the end of the file inside the record of line ${startLine}` : "no closing ]",
      "the file seems cut off: write or download it again",
    );
}

function expected(list: "none" | "open" | "closed", expectComma: boolean): string {
  if (list === "closed") return "the end of the file";
  return expectComma ? "a comma or ]" : "an object {…}";
}

const TAB = 9;
const LINE_FEED = 10;
const CARRIAGE_RETURN = 13;
const SPACE = 32;
const QUOTE = 34;
const COMMA = 44;
const OPEN_BRACKET = 91;
const BACKSLASH = 92;
const CLOSE_BRACKET = 93;
const OPEN_BRACE = 123;
const CLOSE_BRACE = 125;
