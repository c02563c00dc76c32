// What a record asks for: the turns or the text that an answer follows.

import { TunesmithError } from "../errors.ts";
import type { TextOrMessages } from "./example.ts";
import { placeImages } from "./image-column.ts";
import { isMessageList, readMessages, readTextOrMessages } from "./messages.ts";
import type { Row } from "./row.ts";

/** The columns that hold a prompt, in the order in which they are looked for. */
const PROMPT_COLUMNS = ["prompt", "messages", "conversations", "text"] as const;

/**
 * The prompt of a record, its images with their paths; of a conversation that ends with an answer, what comes
 * before it.
 * @throws TunesmithError (data) for a record without one
 */
export function readPrompt(row: Row): TextOrMessages {
  const column = PROMPT_COLUMNS.find((name) => row.record[name] != null);
  const value = column && row.record[column];
  if (!column || value === "") throw noPrompt(row);
  if (!isMessageList(value)) return readTextOrMessages(row, column);
  const [messages] = placeImages(row, [readMessages(row, column)] as const);
  const asked = messages.at(-1)!.role === "assistant" ? messages.slice(0, -1) : messages;
  if (asked.length === 0) throw noPrompt(row);
  return asked;
}

const noPrompt = (row: Row) =>
  new TunesmithError("data", {
    where: row.where,
    rule: `a record has a prompt: a text or a list of turns in ${PROMPT_COLUMNS.join(", ")}`,
    seen: `columns ${Object.keys(row.record).join(", ") || "none"}`,
    fix: 'write {"prompt": "…"} or {"messages": [{"role": "user", "content": "…"}]}',
  });
