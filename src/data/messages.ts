// Lists of chat turns as files hold them: { role, content } or { from, value }, as a list or, in CSV,
// as the JSON text of one.

import { nearest, TunesmithError } from "../errors.ts";
import { type ChatMessage, type ContentPart, isJsonObject } from "../hub/index.ts";
import type { TextOrMessages } from "./example.ts";
import type { Row } from "./row.ts";
import { excerpt } from "./text-stream.ts";

/** The names that sharegpt files give to speakers. */
const SHAREGPT_ROLES: Readonly<Record<string, string>> = {
  system: "system",
  human: "user",
  user: "user",
  gpt: "assistant",
  chatgpt: "assistant",
  assistant: "assistant",
  model: "assistant",
  bot: "assistant",
  tool: "tool",
  function: "tool",
  function_response: "tool",
  observation: "tool",
};

/** Whether a value looks like a list of turns. */
export function isMessageList(value: unknown): boolean {
  const list = fromJsonText(value);
  if (!Array.isArray(list) || list.length === 0) return false;
  return list.every((turn) => isJsonObject(turn) && ("role" in turn || "from" in turn));
}

/** A column's turns. @throws TunesmithError (data) for an empty list or a turn of another shape. */
export function readMessages(row: Row, column: string): ChatMessage[] {
  const list = fromJsonText(row.record[column]);
  if (!Array.isArray(list) || list.length === 0)
    throw new TunesmithError("data", {
      where: row.where,
      rule: `${column} is a list of at least one turn`,
      seen: show(list),
      fix: `write [{"role": "user", "content": "…"}, {"role": "assistant", "content": "…"}]`,
    });
  return list.map((turn, index) => readTurn(turn, row.where, `${column}[${index}]`));
}

/** A column that holds either a text or a list of turns; a text is never read as turns it spells out. */
export function readTextOrMessages(row: Row, column: string): TextOrMessages {
  const value = row.record[column];
  return typeof value === "string" ? value : readMessages(row, column);
}

function readTurn(turn: unknown, where: string, path: string): ChatMessage {
  if (!isJsonObject(turn)) throw wrongTurn(where, path, turn);
  if ("role" in turn) {
    const { role } = turn;
    if (typeof role !== "string") throw wrongTurn(where, path, turn);
    return { role, ...readContent(turn, where, path) };
  }
  const { from, value } = turn;
  if (typeof from !== "string" || typeof value !== "string") throw wrongTurn(where, path, turn);
  const role = SHAREGPT_ROLES[from.toLowerCase()];
  if (role) return { role, content: value };
  const near = nearest(from, Object.keys(SHAREGPT_ROLES));
  throw new TunesmithError("data", {
    where,
    rule: `${path}.from is one of ${Object.keys(SHAREGPT_ROLES).join(", ")}`,
    seen: from,
    fix: near ? `did you mean ${near}?` : "use { role, content } turns for roles of your own",
  });
}

/** Text as it is, or a list of content parts: their texts joined, and the parts where there are images. */
function readContent(
  turn: Record<string, unknown>,
  where: string,
  path: string,
): Pick<ChatMessage, "content" | "parts"> {
  const { content } = turn;
  if (typeof content === "string") return { content };
  if (Array.isArray(content)) {
    const parts = content.map(readPart);
    if (parts.every((part) => part !== undefined)) {
      const text = parts.map((part) => (part.type === "text" ? part.text : "")).join("");
      const hasImage = parts.some(({ type }) => type === "image");
      return { content: text, ...(hasImage && { parts }) };
    }
  }
  const seen =
    "tool_calls" in turn ? "a tool call without text" : `${path}.content = ${show(content)}`;
  throw new TunesmithError("data", {
    where,
    rule: "the content of a turn is text, or a list of texts and images (tool calls are not trained on)",
    seen,
    fix: "write the turn as text, or delete the record",
  });
}

/** An image without a path of its own takes the next of the record's column `images`. */
function readPart(part: unknown): ContentPart | undefined {
  if (isTextPart(part)) return { type: "text", text: part.text };
  if (!isJsonObject(part) || part.type !== "image") return undefined;
  const image = part.image ?? part.path ?? part.url ?? "";
  return typeof image === "string" ? { type: "image", image } : undefined;
}

function isTextPart(part: unknown): part is { text: string } {
  return isJsonObject(part) && part.type === "text" && typeof part.text === "string";
}

function wrongTurn(where: string, path: string, turn: unknown): TunesmithError {
  return new TunesmithError("data", {
    where,
    rule: "a turn is { role, content } or { from, value }, all of them text",
    seen: `${path} = ${show(turn)}`,
    fix: `write it as {"role": "user", "content": "…"}`,
  });
}

function fromJsonText(value: unknown): unknown {
  if (typeof value !== "string" || !/^\s*\[\s*\{/.test(value)) return value;
  try {
    return JSON.parse(value);
  } catch {
    return value; // a text that only begins like one
  }
}

function show(value: unknown): string {
  return value === undefined ? "nothing" : excerpt(JSON.stringify(value));
}
