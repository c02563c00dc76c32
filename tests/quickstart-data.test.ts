// The quickstart's claim is that its test measures copying, not memory: no fill-in of the test file may occur in the
// training file, every argument must stand in its message, and the stored files must be what the script writes.
import { execFileSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, expect, it } from "vitest";

type Row = { messages: { role: string; content: string }[] };

const folder = "assets/quickstart";
const readRows = (file: string): Row[] =>
  readFileSync(join(folder, file), "utf8")
    .trimEnd()
    .split("\n")
    .map((line) => JSON.parse(line) as Row);
const train = readRows("train.jsonl");
const test = readRows("test.jsonl");

const argumentsOf = (row: Row): string[] => {
  const { tool: _, ...rest } = JSON.parse(row.messages[1]!.content) as Record<string, string>;
  return Object.values(rest);
};

/** Words that identify a fill-in: all with letters, and numbers too long to be a day of a month. */
const words = (text: string): string[] =>
  (text.toLowerCase().match(/[a-z]+|\d+/g) ?? []).filter((word) => !/^\d{1,2}$/.test(word));

function sharedFillIns(trainRows: Row[], testRows: Row[]): string[] {
  const seen = new Set(
    trainRows.flatMap((row) => words(row.messages.map((m) => m.content).join(" "))),
  );
  return [...new Set(testRows.flatMap(argumentsOf).flatMap(words))].filter((word) =>
    seen.has(word),
  );
}

describe("quickstart data", () => {
  it("has enough rows, all different", () => {
    expect(train.length).toBeGreaterThanOrEqual(1000);
    expect(test.length).toBeGreaterThanOrEqual(100);
    const all = [...train, ...test].map((row) => row.messages[0]!.content);
    expect(new Set(all).size).toBe(all.length);
  });

  it("tests with fill-ins that the training file does not contain", () => {
    expect(sharedFillIns(train, test)).toEqual([]);
  });

  it("would notice a shared fill-in", () => {
    expect(sharedFillIns([test[0]!], test)).toEqual(
      expect.arrayContaining(words(argumentsOf(test[0]!)[0]!)),
    );
  });

  it("asks only for what stands in the message", () => {
    for (const row of [...train, ...test])
      for (const value of argumentsOf(row))
        expect(row.messages[0]!.content.toLowerCase()).toContain(value.toLowerCase());
  });

  it("is what scripts/quickstart-data.mjs writes", () => {
    const fresh = mkdtempSync(join(tmpdir(), "quickstart-"));
    try {
      execFileSync(process.execPath, ["scripts/quickstart-data.mjs", fresh]);
      for (const file of ["train.jsonl", "test.jsonl"])
        expect(readFileSync(join(fresh, file), "utf8")).toBe(
          readFileSync(join(folder, file), "utf8"),
        );
    } finally {
      rmSync(fresh, { recursive: true, force: true });
    }
  });
});
