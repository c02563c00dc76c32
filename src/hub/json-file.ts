// JSON files that other tools wrote, read with errors that say which file and where in it.

import { readFileSync } from "node:fs";
import { readFile } from "node:fs/promises";
import { TunesmithError } from "../errors.ts";
import { parseSpelled } from "./number-spelling.ts";

export type JsonObject = Record<string, unknown>;

/** True for `{…}`, false for arrays, null and everything else. */
export function isJsonObject(value: unknown): value is JsonObject {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/** Parses a JSON object; throws a TunesmithError ("checkpoint") naming line and column otherwise. */
export function parseJsonObject(
  text: string,
  where: string,
  parse: (text: string) => unknown = JSON.parse,
): JsonObject {
  let value: unknown;
  try {
    value = parse(text);
  } catch (error) {
    throw new TunesmithError(
      "checkpoint",
      {
        where: `${where}${placeOf(error, text)}`,
        rule: "the file must be valid JSON",
        seen: (error as Error).message.split("\n")[0]!.slice(0, 200),
        fix: "fetch the file again; it is damaged or was edited by hand",
      },
      { cause: error },
    );
  }
  if (isJsonObject(value)) return value;
  throw new TunesmithError("checkpoint", {
    where,
    rule: "the file must hold one JSON object, { … }",
    seen: Array.isArray(value) ? "an array" : String(value).slice(0, 80),
    fix: "fetch the file again",
  });
}

/**
 * Reads a JSON object from a file, to be written again by `toJson`. `undefined` where the file does not
 * exist.
 */
export async function readJsonObject(path: string): Promise<JsonObject | undefined> {
  const text = await readTextIfPresent(path);
  return text === undefined ? undefined : parseJsonObject(text, path, parseSpelled);
}

/** The same at once, for what decides which tensors there are; the file has to be there. */
export function readJsonObjectAtOnce(path: string): JsonObject {
  let text: string;
  try {
    text = readFileSync(path, "utf8");
  } catch (error) {
    throw unreadable(path, error);
  }
  return parseJsonObject(text, path, parseSpelled);
}

/** A text file's content, a byte-order mark removed; `undefined` where the file does not exist. */
export async function readTextIfPresent(path: string): Promise<string | undefined> {
  try {
    const text = await readFile(path, "utf8");
    return text.startsWith("\uFEFF") ? text.slice(1) : text;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return undefined;
    throw unreadable(path, error);
  }
}

/** The fault of a file that the system does not let us read. */
export function unreadable(path: string, error: unknown): TunesmithError {
  const code = (error as NodeJS.ErrnoException).code;
  return new TunesmithError(
    "checkpoint",
    {
      where: path,
      rule: "the file must be readable",
      seen: code === "ENOENT" ? "no such file" : ((error as Error).message ?? String(error)),
      fix: "check the path and its permissions",
    },
    { cause: error },
  );
}

/** ":line:column" where the engine's message tells a position. */
function placeOf(error: unknown, text: string): string {
  const position = /position (\d+)/.exec((error as Error).message)?.[1];
  if (position === undefined) return "";
  const before = text.slice(0, Number(position)).split("\n");
  return `:${before.length}:${before.at(-1)!.length + 1}`;
}
