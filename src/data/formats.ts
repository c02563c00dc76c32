// The record formats that are recognised by themselves: one table, from column names to Examples.

import { nearest, TunesmithError } from "../errors.ts";
import type { Example } from "./example.ts";
import { IMAGE_COLUMN, placeImages } from "./image-column.ts";
import { isMessageList, readMessages, readTextOrMessages } from "./messages.ts";
import type { Row } from "./row.ts";
import { excerpt } from "./text-stream.ts";

export type FormatName = "messages" | "sharegpt" | "completion" | "alpaca" | "text";

/** Which of a file's columns takes the part of a format's column: `{ prompt: "question" }`. */
export type ColumnMapping = Readonly<Record<string, string>>;

interface RecordFormat {
  /** Columns a record must have, with a value. */
  readonly required: readonly string[];
  readonly optional: readonly string[];
  /** Its columns in a line, for error messages and documentation. */
  readonly shape: string;
  /** @throws TunesmithError (data) naming `row.where` for values of the wrong type. */
  read(row: Row): Example;
}

/** Every format. A record has the format whose required columns it has, if exactly one fits. */
const FORMATS: Readonly<Record<FormatName, RecordFormat>> = {
  messages: {
    required: ["messages"],
    optional: [IMAGE_COLUMN],
    shape: "messages: [{ role, content }, …], images?",
    read(row) {
      const [messages] = placeImages(row, [readMessages(row, "messages")]);
      return { kind: "conversation", messages };
    },
  },
  sharegpt: {
    required: ["conversations"],
    optional: ["system"],
    shape: "conversations: [{ from, value }, …], system?",
    read: (row) => {
      const messages = readMessages(row, "conversations");
      const system = optionalText(row, "system");
      return {
        kind: "conversation",
        messages: system ? [{ role: "system", content: system }, ...messages] : messages,
      };
    },
  },
  completion: {
    required: ["prompt", "completion"],
    optional: [IMAGE_COLUMN],
    shape: "prompt, completion (both texts, or both lists of messages), images?",
    read: readCompletion,
  },
  alpaca: {
    required: ["instruction", "output"],
    optional: ["input", "system"],
    shape: "instruction, input?, output, system?",
    read: readAlpaca,
  },
  text: {
    required: ["text"],
    optional: [],
    shape: "text",
    read: (row) => ({ kind: "text", text: requiredText(row, "text") }),
  },
};

/**
 * The format of a dataset, from its first record (columns already renamed by the mapping).
 *
 * @throws TunesmithError (data) listing the columns seen and the formats known when none or several fit.
 */
export function recogniseFormat(row: Row): FormatName {
  const fitting = formatNames().filter((name) =>
    FORMATS[name].required.every((column) => row.record[column] != null),
  );
  if (fitting.length === 1) return fitting[0]!;
  const columns = Object.keys(row.record);
  throw new TunesmithError("data", {
    where: row.where,
    rule:
      fitting.length === 0
        ? `a record's columns must fit a format:\n${knownFormats()}`
        : "a record's columns must fit one format only",
    seen:
      fitting.length === 0
        ? `columns ${columns.join(", ") || "(none)"}`
        : `columns ${columns.join(", ")}, which fit ${fitting.join(" and ")}`,
    fix:
      fitting.length === 0
        ? suggestMapping(row.record)
        : `say which: ${fitting.map((name) => `format: ${name}`).join(" or ")}`,
  });
}

/**
 * Reads records of one format. The mapping renames columns first; other columns are ignored.
 *
 * @param format the name, or "auto" to recognise it on the first record.
 */
export function createExampleReader(
  format: FormatName | "auto" = "auto",
  columns: ColumnMapping = {},
): { read(row: Row): Example; readonly format: FormatName | undefined } {
  checkMapping(columns, format);
  let found = format === "auto" ? undefined : format;
  return {
    get format() {
      return found;
    },
    read(row) {
      const renamed = renameColumns(row, columns);
      found ??= recogniseFormat(renamed);
      const missing = FORMATS[found].required.filter((column) => renamed.record[column] == null);
      if (missing.length > 0) throw missingColumns(renamed, found, missing);
      return FORMATS[found].read(renamed);
    },
  };
}

function formatNames(): FormatName[] {
  return Object.keys(FORMATS) as FormatName[];
}

function knownFormats(): string {
  return formatNames()
    .map((name) => `    ${name.padEnd(10)} ${FORMATS[name].shape}`)
    .join("\n");
}

function suggestMapping(record: Readonly<Record<string, unknown>>): string {
  const texts = Object.keys(record).filter((column) => typeof record[column] === "string");
  const lists = Object.keys(record).filter((column) => isMessageList(record[column]));
  if (lists.length === 1) return `map it: columns: { messages: ${quote(lists[0]!)} }`;
  if (texts.length === 1) return `map it: columns: { text: ${quote(texts[0]!)} }`;
  if (texts.length >= 2)
    return `map two of them, such as columns: { prompt: ${quote(texts[0]!)}, completion: ${quote(texts[1]!)} }`;
  return 'rename the columns, or map them: columns: { prompt: "…", completion: "…" }';
}

function checkMapping(columns: ColumnMapping, format: FormatName | "auto"): void {
  const formats = format === "auto" ? formatNames() : [format];
  const known = formats.flatMap((name) => [...FORMATS[name].required, ...FORMATS[name].optional]);
  for (const column of Object.keys(columns)) {
    if (known.includes(column)) continue;
    const near = nearest(column, known);
    throw new TunesmithError("config", {
      where: `columns.${column}`,
      rule: `the left side of a mapping is a column of a format (${[...new Set(known)].join(", ")})`,
      seen: column,
      fix: near
        ? `did you mean ${near}?`
        : `write it the other way round: columns: { prompt: ${quote(column)} }`,
    });
  }
}

function renameColumns(row: Row, columns: ColumnMapping): Row {
  const entries = Object.entries(columns);
  if (entries.length === 0) return row;
  const record: Record<string, unknown> = { ...row.record };
  for (const [, actual] of entries) delete record[actual];
  for (const [column, actual] of entries) {
    if (!(actual in row.record)) {
      const near = nearest(actual, Object.keys(row.record));
      throw new TunesmithError("data", {
        where: row.where,
        rule: `the column that columns.${column} names must exist`,
        seen: `no ${quote(actual)} among ${Object.keys(row.record).join(", ")}`,
        fix: near ? `did you mean ${quote(near)}?` : "name one of these columns",
      });
    }
    record[column] = row.record[actual];
  }
  return { record, where: row.where };
}

function missingColumns(row: Row, format: FormatName, missing: readonly string[]): TunesmithError {
  const present = Object.keys(row.record);
  const empty = missing.filter((column) => present.includes(column));
  return new TunesmithError("data", {
    where: row.where,
    rule: `a record of the format ${format} has ${FORMATS[format].shape}`,
    seen:
      empty.length > 0
        ? `no value in ${empty.join(", ")}`
        : `no ${missing.join(", ")} among ${present.join(", ") || "no columns"}`,
    fix: "complete or delete the record, or map its columns (columns: { … })",
  });
}

function readCompletion(row: Row): Example {
  const [prompt, completion] = placeImages(row, [
    readTextOrMessages(row, "prompt"),
    readTextOrMessages(row, "completion"),
  ] as const);
  if (typeof prompt === typeof completion) return { kind: "completion", prompt, completion };
  // A conversation answered by a bare text is common; the text is the assistant's turn.
  if (typeof completion === "string")
    return { kind: "completion", prompt, completion: [{ role: "assistant", content: completion }] };
  return { kind: "completion", prompt: [{ role: "user", content: prompt as string }], completion };
}

function readAlpaca(row: Row): Example {
  const instruction = requiredText(row, "instruction");
  const input = optionalText(row, "input");
  const output = requiredText(row, "output");
  const system = optionalText(row, "system");
  const content = input ? `${instruction}\n\n${input}` : instruction;
  return {
    kind: "completion",
    prompt: [...(system ? [{ role: "system", content: system }] : []), { role: "user", content }],
    completion: [{ role: "assistant", content: output }],
    // The headings under which models without a chat template were first trained on this format.
    plain: {
      prompt: [
        ...(system ? [system] : []),
        `### Instruction:\n${instruction}`,
        ...(input ? [`### Input:\n${input}`] : []),
        "### Response:\n",
      ].join("\n\n"),
      completion: output,
    },
  };
}

function requiredText(row: Row, column: string): string {
  const value = row.record[column];
  if (typeof value === "string") return value;
  throw new TunesmithError("data", {
    where: row.where,
    rule: `the column ${column} holds text`,
    seen: excerpt(JSON.stringify(value) ?? String(value)),
    fix: "write it as a string",
  });
}

function optionalText(row: Row, column: string): string | undefined {
  return row.record[column] == null ? undefined : requiredText(row, column);
}

function quote(text: string): string {
  return JSON.stringify(text);
}
