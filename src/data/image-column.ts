// Images of a record: parts of its messages, and the column `images` that their files may stand in, as TRL
// has it. Paths are relative to the data file.

import { dirname, resolve } from "node:path";
import { TunesmithError } from "../errors.ts";
import type { ChatMessage } from "../hub/index.ts";
import { isElsewhere } from "../hub/index.ts";
import type { TextOrMessages } from "./example.ts";
import type { Row } from "./row.ts";

export const IMAGE_COLUMN = "images";

/**
 * A record's messages with a path in every image: its own, or the next of the column.
 * @throws TunesmithError (data) for a column that is none, or that has more or fewer than messages want
 */
export function placeImages<Content extends readonly TextOrMessages[]>(
  row: Row,
  contents: Content,
): Content {
  const listed = readColumn(row);
  const folder = dirname(row.where.slice(0, row.where.lastIndexOf(":")));
  let next = 0;
  const place = (message: ChatMessage): ChatMessage => {
    if (!message.parts) return message;
    const parts = message.parts.map((part) => {
      if (part.type === "text") return part;
      const path = part.image === "" ? listed[next++] : part.image;
      return { ...part, image: path === undefined ? "" : placed(folder, path) };
    });
    return { ...message, parts };
  };
  const all = contents.map((content) =>
    typeof content === "string" ? content : content.map(place),
  );
  if (next === listed.length) return all as readonly TextOrMessages[] as Content;
  throw new TunesmithError("data", {
    where: row.where,
    rule: `the column ${IMAGE_COLUMN} has a path for every {"type": "image"} in the messages`,
    seen: `${listed.length} paths for ${next} images`,
    fix: "write an image part where each image belongs, and name every file",
  });
}

const placed = (folder: string, path: string) => (isElsewhere(path) ? path : resolve(folder, path));

function readColumn({ record, where }: Row): readonly string[] {
  const value = record[IMAGE_COLUMN] ?? [];
  const list = Array.isArray(value) ? value : [value];
  if (list.every((item) => typeof item === "string")) return list;
  throw new TunesmithError("data", {
    where,
    rule: `${IMAGE_COLUMN} is a path, or a list of paths relative to the data file`,
    seen: JSON.stringify(value).slice(0, 80),
    fix: "save images that the file holds itself as files, and write their paths",
  });
}

/** The files of images in messages, in their order. */
export const imagesIn = (contents: readonly TextOrMessages[]): string[] =>
  contents
    .flatMap((content) => (typeof content === "string" ? [] : content))
    .flatMap(({ parts = [] }) =>
      parts.flatMap((part) => (part.type === "image" ? part.image : [])),
    );
