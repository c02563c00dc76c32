// Reading data tells how far it is and can be stopped.

import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, it, vi } from "vitest";
import { startHub } from "../hub/testing/hub-server.ts";
import type { PrepareProgress } from "./attention.ts";
import { previewRecipeData } from "./data.ts";
import { tinyChats, writeTinyModel } from "./testing/tiny-model.ts";

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "tunesmith-data-"));
  await writeTinyModel(join(folder, "model"));
  await writeFile(join(folder, "train.jsonl"), tinyChats(600));
});
afterAll(() => rm(folder, { recursive: true }));

const recipe = () => ({
  model: { path: join(folder, "model") },
  data: { train: join(folder, "train.jsonl"), eval: 0 },
  method: { name: "lora" as const },
});

it("tells how many records were read", async () => {
  const seen: PrepareProgress[] = [];
  const onProgress = (progress: PrepareProgress) => seen.push(progress);
  await previewRecipeData(recipe(), { samples: 0, onProgress });
  expect(seen).toEqual([{ stage: "read", records: 500 }]);
});

it("stops reading when it is told to", async () => {
  const stop = new AbortController();
  const options = { samples: 0, signal: stop.signal, onProgress: () => stop.abort() };
  await expect(previewRecipeData(recipe(), options)).rejects.toThrow(/abort/i);
});

it("takes data from the hub: the split for training, and the one for evaluation", async () => {
  const name = "owner/chats";
  const hub = await startHub({
    kind: "dataset",
    repository: name,
    commit: "a".repeat(40),
    files: {
      "train.jsonl": tinyChats(20),
      "validation.jsonl": tinyChats(5),
      "test.jsonl": tinyChats(7),
    },
  });
  vi.stubEnv("HF_ENDPOINT", hub.url);
  vi.stubEnv("HF_HOME", join(folder, "huggingface"));
  const seen: PrepareProgress[] = [];
  const onProgress = (progress: PrepareProgress) => seen.push(progress);
  const preview = (data: { train: string; eval: string }) =>
    previewRecipeData({ ...recipe(), data }, { samples: 0, onProgress });
  try {
    const { report } = await preview({ train: name, eval: name });
    expect([report.records, report.eval?.records]).toEqual([20, 5]);
    expect(seen.at(-1)).toMatchObject({ stage: "download", file: "validation.jsonl" });
    const chosen = await preview({
      train: `${name}@${"a".repeat(40)}:test`,
      eval: `hf://datasets/${name}/validation.jsonl`,
    });
    expect([chosen.report.records, chosen.report.eval?.records]).toEqual([7, 5]);
    await expect(preview({ train: `${name}:tset`, eval: name })).rejects.toThrow(
      /owner\/chats:test/,
    );
  } finally {
    vi.unstubAllEnvs();
  }
});
