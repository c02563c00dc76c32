// Commands that download or read before they work: what they show meanwhile, and how Ctrl-C ends them.

import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, expect, it, vi } from "vitest";
import { startHub } from "../hub/testing/hub-server.ts";
import { main } from "./main.ts";
import { attend } from "./preparing.ts";
import { testConsole } from "./testing/test-console.ts";

const folders: string[] = [];
afterEach(async () => {
  vi.unstubAllEnvs();
  for (const folder of folders.splice(0)) await rm(folder, { recursive: true });
});

it("shows how far a download is, and takes the line away", async () => {
  const console = testConsole({ isLive: true });
  const context = { console, overrides: [], exitCode: 0 };
  const progress = { stage: "download", file: "x.bin", loadedBytes: 1e6, totalBytes: 2e6 } as const;
  const result = await attend(context, async ({ onProgress }) => {
    onProgress(progress);
    return 7;
  });
  expect(result).toBe(7);
  expect(console.errText()).toMatch(/downloading x\.bin: .* of /);
  expect(console.errText().endsWith("\r\u001b[K")).toBe(true);
});

it("tells what looks wrong in a line of its own", async () => {
  const console = testConsole();
  const context = { console, overrides: [], exitCode: 0 };
  await attend(context, async ({ onWarning }) => onWarning("another base"));
  expect(console.errText()).toBe("! another base\n");
  expect(console.outText()).toBe("");
});

it("does not take another fault for Ctrl-C", async () => {
  const context = { console: testConsole(), overrides: [], exitCode: 0 };
  const fault = new Error("boom");
  await expect(attend(context, () => Promise.reject(fault))).rejects.toBe(fault);
  expect(context.exitCode).toBe(0);
});

it.each([
  ["plan", "recipe.yaml"],
  ["eval", "recipe.yaml"],
  ["data", "preview", "recipe.yaml"],
  ["generate", "--model", "owner/tiny", "hi"],
  ["merge", "--model", "owner/tiny", "--adapter", "a", "--out", "merged"],
])("%s stops a download with exit code 130", async (...words) => {
  const folder = await mkdtemp(join(tmpdir(), "tunesmith-preparing-"));
  folders.push(folder);
  const hub = await startHub({
    repository: "owner/tiny",
    commit: "b".repeat(40),
    files: { "config.json": "{}", "model.safetensors": "weights" },
  });
  vi.stubEnv("HF_ENDPOINT", hub.url);
  vi.stubEnv("HF_HOME", folder);
  await writeFile(join(folder, "train.txt"), "a\n");
  await writeFile(
    join(folder, "recipe.yaml"),
    "model: owner/tiny\ndata: train.txt\nmethod: lora\noutput: run\n",
  );
  const stop = new AbortController();
  const console = { ...testConsole(), closed: stop.signal };
  stop.abort();
  const inFolder = (word: string) => (/yaml|merged/.test(word) ? join(folder, word) : word);
  expect(await main(words.map(inFolder), console)).toBe(130);
  expect(hub.requests.filter((request) => request.includes("safetensors"))).toEqual([]);
});
