// A folder and those above it, made once, and refused where there can be none.

import { mkdtemp, rm, stat, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, it } from "vitest";
import { makeFolder } from "./make-folder.ts";

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "tunesmith-folder-"));
});
afterAll(() => rm(folder, { recursive: true }));

it("is made with all above it, by several at once, and left alone where it is there", async () => {
  const deep = join(folder, "a", "b", "c");
  await Promise.all([makeFolder(deep), makeFolder(deep), makeFolder(join(folder, "a", "b", "d"))]);
  await writeFile(join(deep, "kept"), "");
  await makeFolder(deep);
  expect((await stat(join(deep, "kept"))).isFile()).toBe(true);
});

it("is refused where a file stands", async () => {
  await writeFile(join(folder, "file"), "");
  await expect(makeFolder(join(folder, "file"))).rejects.toThrow("EEXIST");
  await expect(makeFolder(join(folder, "file", "below"))).rejects.toThrow("ENOTDIR");
});

it.runIf(process.platform === "linux")("is refused where there can be none, at once", async () => {
  await expect(makeFolder("/proc/tunesmith/run")).rejects.toThrow("ENOENT");
});
