import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { TunesmithError } from "../errors.ts";
import { findFiles, type ResolveDataset, readRecords } from "./read.ts";
import type { Row } from "./row.ts";
import { MAX_RECORD_LENGTH } from "./text-stream.ts";

// Five rows in groups of two, zstd, written by pyarrow 26 (pyarrow.parquet.write_table, row_group_size=2).
const PARQUET = fileURLToPath(
  new URL("../../tests/fixtures/data/messages-zstd.parquet", import.meta.url),
);

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "tunesmith-read-"));
});
afterAll(() => rm(folder, { recursive: true }));

async function write(name: string, content: string | Uint8Array): Promise<string> {
  const path = join(folder, name);
  await writeFile(path, content);
  return path;
}

/** Records and where they stand, with the folder left out of the paths. */
async function read(name: string, content: string | Uint8Array): Promise<Row[]> {
  const rows: Row[] = [];
  for await (const row of readRecords([await write(name, content)]))
    rows.push({ ...row, where: row.where.replace(`${folder}/`, "") });
  return rows;
}

async function failure(name: string, content: string | Uint8Array): Promise<string> {
  const error = await read(name, content).then(
    () => undefined,
    (cause) => cause,
  );
  expect(error).toBeInstanceOf(TunesmithError);
  return (error as TunesmithError).message.replaceAll(`${folder}/`, "");
}

describe("JSONL", () => {
  it("reads objects with their lines, through BOM, CRLF, blank lines and a missing last line end", async () => {
    expect(
      await read("a.jsonl", '\ufeff{"text":"é"}\r\n\r\n{"text":"two"}\n  \n{"text":"3"}'),
    ).toEqual([
      { record: { text: "é" }, where: "a.jsonl:1" },
      { record: { text: "two" }, where: "a.jsonl:3" },
      { record: { text: "3" }, where: "a.jsonl:5" },
    ]);
  });

  it("takes U+2028 inside a string for a character, not for a line end", async () => {
    expect(await read("a.jsonl", '{"text":"a\u2028b"}\n')).toHaveLength(1);
  });

  it("joins characters that fall between two pieces of the file", async () => {
    const text = "€".repeat(300_000);
    const rows = await read("a.jsonl", `{"text":"a${text}"}\n{"text":"b"}`);
    expect(rows[0]!.record.text).toBe(`a${text}`);
    expect(rows[1]!.where).toBe("a.jsonl:2");
  });

  it("names file, line and reason of a malformed line", async () => {
    expect(await failure("a.jsonl", '{"text":"a"}\n{"text" "b"}\n')).toMatchInlineSnapshot(`
      "a.jsonl:2: a record must be valid JSON (Expected ':' after property name, at character 9)
        saw: {"text" "b"}
        fix: correct or delete it (quotes inside strings are written \\")"
    `);
    expect(await failure("a.jsonl", '{"text":"a"}\n{"text":"b')).toMatchInlineSnapshot(`
      "a.jsonl:2: a record must be valid JSON (Unterminated string, at character 11)
        saw: {"text":"b
        fix: the record ends too early: complete it on one line, or delete it"
    `);
    expect(await failure("a.jsonl", "hello\n")).toMatch(/^a.jsonl:1: a record must be valid JSON/);
  });

  it("refuses lines that are no objects", async () => {
    expect(await failure("a.jsonl", '[{"text":"a"}]')).toMatch(
      /saw: a list.*\n.*name the file .json/,
    );
    expect(await failure("a.jsonl", '{"text":"a"}\n"b"')).toMatch(
      /^a.jsonl:2: .*\n.*a string: "b"/,
    );
    expect(await failure("a.jsonl", "null")).toMatch(/saw: null/);
  });

  it("refuses bytes that are not UTF-8, by line", async () => {
    const bytes = Buffer.concat([
      Buffer.from('{"text":"a"}\n{"text":"'),
      Buffer.from([0xe9, 0x22]),
    ]);
    expect(await failure("a.jsonl", bytes)).toMatch(/^a.jsonl:2: text must be UTF-8/);
    expect(await failure("a.jsonl", Buffer.from('{"text":"é"}').subarray(0, 10))).toMatch(/UTF-8/);
  });

  it("says what a file is that is no text at all", async () => {
    expect(await failure("a.jsonl", Buffer.from("\ufeff{}", "utf16le"))).toMatch(
      /saw: UTF-16 text/,
    );
    expect(await failure("a.jsonl", Buffer.from([0x1f, 0x8b, 8]))).toMatch(/saw: gzip data/);
    expect(await failure("a.csv", await readFile(PARQUET))).toMatch(/fix: name it .parquet/);
  });

  it("gives up on a line that would fill the memory", async () => {
    const long = new Uint8Array(MAX_RECORD_LENGTH + 2 ** 20).fill(0x61);
    expect(await failure("a.jsonl", long)).toMatch(/^a.jsonl:1: a line or record is at most 16 Mi/);
    expect(
      await failure("a.json", Buffer.concat([Buffer.from("["), Buffer.from('{"a":"'), long])),
    ).toMatch(/^a.json:1: a line or record is at most 16 Mi/);
  });
});

describe("JSON", () => {
  it("reads a list, pretty-printed or not, brackets in strings included", async () => {
    const records = [{ text: 'a]}"\\' }, { text: "b", more: [{ x: [1] }] }];
    expect((await read("a.json", JSON.stringify(records))).map((row) => row.record)).toEqual(
      records,
    );
    expect(await read("a.json", JSON.stringify(records, null, 2))).toEqual([
      { record: records[0], where: "a.json:2" },
      { record: records[1], where: "a.json:5" },
    ]);
    expect(await read("a.json", " [ ] ")).toEqual([]);
  });

  it("reads elements that span the pieces of the file", async () => {
    const records = Array.from({ length: 9 }, (_, i) => ({ text: `${i}`.repeat(100_000) }));
    expect((await read("a.json", JSON.stringify(records))).map((row) => row.record)).toEqual(
      records,
    );
  });

  it("reads objects one after another, and an object that holds the list", async () => {
    expect(await read("a.json", '{"text":"a"}\n{"text":"b"}\n')).toHaveLength(2);
    expect(await read("a.json", '{"text":"a"}')).toEqual([
      { record: { text: "a" }, where: "a.json:1" },
    ]);
    expect(await read("a.json", '{"version":1,"data":[{"text":"a"},{"text":"b"}]}')).toEqual([
      { record: { text: "a" }, where: "a.json[0]" },
      { record: { text: "b" }, where: "a.json[1]" },
    ]);
  });

  it("says where it is malformed", async () => {
    expect(await failure("a.json", '[{"text":"a"},\n{"text":"b"}')).toMatch(/saw: no closing \]/);
    expect(await failure("a.json", '[{"text":"a"},\n{"text":"b"')).toMatch(
      /^a.json:2: .*\n.*inside the record of line 2/,
    );
    expect(await failure("a.json", '[{"text":"a"}\n{"text":"b"}]')).toMatch(
      /a comma or \] should be/,
    );
    expect(await failure("a.json", '[{"text":"a"}] {"text":"b"}')).toMatch(
      /the end of the file should/,
    );
    expect(await failure("a.json", "[1, 2]")).toMatch(/an object \{…\} should be/);
    expect(await failure("a.json", '[\n{"text" "a"}]')).toMatch(
      /^a.json:2: a record must be valid/,
    );
  });
});

describe("CSV", () => {
  it("reads quoted fields and gives the line where a record starts", async () => {
    expect(await read("a.csv", '\ufeffprompt,completion\r\na,"b\r\n""c"""\r\n\r\nd,e\r\n')).toEqual(
      [
        { record: { prompt: "a", completion: 'b\n"c"' }, where: "a.csv:2" },
        { record: { prompt: "d", completion: "e" }, where: "a.csv:5" },
      ],
    );
  });

  it("finds semicolons and tabs", async () => {
    expect((await read("a.csv", "prompt;completion\na,b;c\n"))[0]!.record).toEqual({
      prompt: "a,b",
      completion: "c",
    });
    expect((await read("a.tsv", "prompt\tcompletion\na\tb\n"))[0]!.record).toEqual({
      prompt: "a",
      completion: "b",
    });
  });

  it("names file, line and reason of a malformed record", async () => {
    expect(await failure("a.csv", "a,b\n1,2\n3\n")).toMatch(/^a.csv:3: every CSV record has/);
    expect(await failure("a.csv", 'a,b\n1,"2\n3')).toMatch(/^a.csv:\d: .*\n.*Quote Not Closed/);
    expect(await failure("a.csv", "a,a\n1,2\n")).toMatch(/^a.csv:1: .*\n.*"a" twice/);
    const bytes = Buffer.concat([Buffer.from("a,b\n1,"), Buffer.from([0xe9])]);
    expect(await failure("a.csv", bytes)).toMatch(/text must be UTF-8/);
  });
});

describe("Parquet", () => {
  it("reads nested columns of several zstd row groups", async () => {
    const rows: Row[] = [];
    for await (const row of readRecords([PARQUET])) rows.push(row);
    expect(rows).toHaveLength(5);
    expect(rows[4]!.where).toMatch(/messages-zstd.parquet:5$/);
    expect(rows[4]!.record.messages).toEqual([
      { role: "user", content: "What is 4 + 4?" },
      { role: "assistant", content: "8. ünï 😀" },
    ]);
  });

  it("refuses a truncated or foreign file", async () => {
    const whole = await readFile(PARQUET);
    expect(await failure("a.parquet", whole.subarray(0, 500))).toMatch(
      /must be a complete Parquet/,
    );
    expect(await failure("a.parquet", "hello")).toMatch(/must be a complete Parquet/);
    expect(await failure("a.parquet", "")).toMatch(/must be a complete Parquet/);
    const broken = Buffer.from(whole);
    broken.fill(0xff, 4, 200);
    expect(await failure("a.parquet", broken)).toMatch(/must be a complete Parquet/);
  });
});

describe("plain text", () => {
  it("keeps a short file whole", async () => {
    expect(await read("a.txt", "\n\none\ntwo\n\nthree\n")).toEqual([
      { record: { text: "one\ntwo\n\nthree" }, where: "a.txt:3" },
    ]);
    expect(await read("a.txt", " \n\n")).toEqual([]);
  });

  it("cuts a long file at paragraphs, or at lines where there are none, and loses nothing", async () => {
    const paragraphs = Array.from({ length: 50 }, (_, i) => `${i} ${"word ".repeat(300)}.`);
    const cut = await read("a.txt", paragraphs.join("\n\n"));
    expect(cut.length).toBeGreaterThan(3);
    expect(cut.map((row) => row.record.text).join("\n\n")).toBe(paragraphs.join("\n\n"));
    const lines = await read("a.txt", paragraphs.join("\n"));
    expect(lines.length).toBeGreaterThan(1);
    expect(lines.map((row) => row.record.text).join("\n")).toBe(paragraphs.join("\n"));
  });
});

describe("sources", () => {
  it("takes files, folders in order, and hub ids through the function given", async () => {
    const asked: string[] = [];
    const sub = await mkdtemp(join(folder, "set-"));
    for (const name of ["b.jsonl", "a.csv", "README.md", "image.png"])
      await writeFile(join(sub, name), "");
    expect(await findFiles(sub)).toEqual([join(sub, "a.csv"), join(sub, "b.jsonl")]);
    const file = join(sub, "b.jsonl");
    const resolve: ResolveDataset = async (reference, side) => {
      asked.push(`${reference} ${side}`);
      return reference === "owner/name" ? [file] : undefined;
    };
    expect(await findFiles([file, "owner/name"], resolve, "eval")).toEqual([file, file]);
    await expect(findFiles("owner/other", resolve)).rejects.toThrow("no file or folder");
    await expect(findFiles("missing/train.jsonl", resolve)).rejects.toThrow("no file or folder");
    expect(asked).toEqual(["owner/name eval", "owner/other train"]);
  });

  it("says what is wrong with a source", async () => {
    const path = await write("train.jsonl", "");
    await expect(findFiles(path.replace("train", "trian"))).rejects.toThrow(
      `did you mean ${path}?`,
    );
    await expect(findFiles(await write("a.jsnl", ""))).rejects.toThrow("rename it to .json");
    await expect(findFiles(await mkdtemp(join(folder, "empty-")))).rejects.toThrow(
      "an empty folder",
    );
    await expect(findFiles("owner/name")).rejects.toThrow("no file or folder of that name");
  });
});
