// JSON Lines: one object a line. Blank lines are passed over.

import { TunesmithError } from "../errors.ts";
import type { Row } from "./row.ts";
import { excerpt, readLines } from "./text-stream.ts";

/** @throws TunesmithError (data) naming file, line and reason for a line that is no JSON object. */
export async function* readJsonLines(path: string): AsyncGenerator<Row> {
  for await (const line of readLines(path)) {
    if (line.text.trim() === "") continue;
    yield {
      record: parseObject(line.text, `${path}:${line.number}`),
      where: `${path}:${line.number}`,
    };
  }
}

/** Parses the text of one record. @throws TunesmithError (data) unless it is a JSON object. */
export function parseObject(text: string, where: string): Record<string, unknown> {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (cause) {
    throw malformed(text, where, cause as SyntaxError);
  }
  if (typeof value === "object" && value !== null && !Array.isArray(value))
    return value as Record<string, unknown>;
  throw new TunesmithError("data", {
    where,
    rule: "every record is a JSON object with named columns",
    seen: `${Array.isArray(value) ? "a list" : value === null ? "null" : `a ${typeof value}`}: ${excerpt(text)}`,
    fix: Array.isArray(value)
      ? "name the file .json if it is one list of records; otherwise write one object a line"
      : 'write objects such as {"text": "…"}',
  });
}

function malformed(text: string, where: string, cause: SyntaxError): TunesmithError {
  const position = Number(/position (\d+)/.exec(cause.message)?.[1] ?? text.length);
  const reason = cause.message
    .replace(/ in JSON at position.*| at position.*|, ".*|, \.\.\.".*/s, "")
    .replace(/ \(line.*\)/, "");
  const cutOff = position >= text.trimEnd().length;
  const start = Math.max(0, position - 40);
  const around = `${start > 0 ? "…" : ""}${text.slice(start, position + 20)}`;
  return new TunesmithError(
    "data",
    {
      where,
      rule: `a record must be valid JSON (${reason}, at character ${position + 1})`,
      seen: excerpt(around),
      fix: cutOff
        ? "the record ends too early: complete it on one line, or delete it"
        : 'correct or delete it (quotes inside strings are written \\")',
    },
    { cause },
  );
}
