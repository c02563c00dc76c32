// Reading data tells how far it is and can be stopped.

import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, it } from "vitest";
import { previewRecipeData } from "./data.ts";
import type { PrepareProgress } from "./prepare.ts";
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
