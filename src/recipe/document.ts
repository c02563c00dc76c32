// A recipe's text as plain data that still knows where each key and value stood. JSON is read by the
// same parser: it is YAML, written with more brackets.

import { type Document, isMap, isPair, isScalar, isSeq, LineCounter, parseDocument } from "yaml";
import type { Fault } from "../errors.ts";

/** One-based, as editors count. */
export interface Place {
  readonly line: number;
  readonly column: number;
}

export type KeyPath = readonly (string | number)[];

export interface RecipeDocument {
  /** The text as plain data; undefined where it is not valid YAML. */
  readonly data: unknown;
  /** What is wrong with the text as YAML. */
  readonly faults: readonly Fault[];
  /** Where a value stands; of its nearest ancestor where it is not written out. */
  valuePlace(path: KeyPath): Place | undefined;
  /** Where a key stands, for faults about the key itself. */
  keyPlace(path: KeyPath): Place | undefined;
}

/** Reads the text of a recipe; `file` is how faults name it. */
export function parseRecipeText(text: string, file: string): RecipeDocument {
  const lines = new LineCounter();
  const document = parseDocument(text, { lineCounter: lines, prettyErrors: false });
  const place = (offset: number): Place => {
    const { line, col } = lines.linePos(offset);
    return { line, column: col };
  };
  const faults = document.errors.map((error): Fault => {
    const { line, column } = place(error.pos[0]);
    const [sentence = ""] = error.message.split("\n");
    return {
      where: `${file}:${line}:${column}`,
      rule: `a recipe is YAML or JSON: ${sentence.charAt(0).toLowerCase()}${sentence.slice(1)}`,
      seen: lineOf(text, line),
      fix: FIXES[error.code] ?? "check indentation, brackets and quotes there",
    };
  });
  return {
    data: faults.length === 0 ? document.toJS() : undefined,
    faults,
    valuePlace: (path) => optional(offsetOf(document, path, "value"), place),
    keyPlace: (path) => optional(offsetOf(document, path, "key"), place),
  };
}

const FIXES: Readonly<Record<string, string>> = {
  DUPLICATE_KEY: "keep one of the two",
  TAB_AS_INDENT: "indent with spaces",
  MULTIPLE_DOCS: "keep one recipe a file, without --- lines between",
};

function lineOf(text: string, line: number): string {
  return text.split(/\r?\n/)[line - 1]?.trim() || "the end of the file";
}

function optional<T, R>(value: T | undefined, change: (value: T) => R): R | undefined {
  return value === undefined ? undefined : change(value);
}

function offsetOf(document: Document, path: KeyPath, what: "key" | "value"): number | undefined {
  let node: unknown = document.contents;
  let offset = startOf(node);
  for (const [depth, step] of path.entries()) {
    if (isMap(node)) {
      const pair = node.items.find(
        (item) => isPair(item) && isScalar(item.key) && String(item.key.value) === String(step),
      );
      if (pair === undefined) return offset;
      const atKey = what === "key" && depth === path.length - 1;
      node = pair.value;
      offset = (atKey ? startOf(pair.key) : startOf(node)) ?? startOf(pair.key) ?? offset;
    } else if (isSeq(node)) {
      node = node.items[Number(step)];
      offset = startOf(node) ?? offset;
    } else return offset;
  }
  return offset;
}

function startOf(node: unknown): number | undefined {
  return (node as { range?: [number, number, number] | null } | null)?.range?.[0];
}

/** The value at a path of plain data, or undefined. */
export function valueAt(data: unknown, at: KeyPath): unknown {
  let value = data;
  for (const step of at) {
    if (value === null || typeof value !== "object") return undefined;
    value = (value as Record<string | number, unknown>)[step];
  }
  return value;
}
