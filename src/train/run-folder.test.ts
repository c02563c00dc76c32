import { mkdir, readdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { expect, it } from "vitest";
import { checkRunFolder, openRunFolder } from "./run-folder.ts";
import { toyOptions, trainToEnd, useTemporaryFolders } from "./testing/helpers.ts";

const makeFolder = useTemporaryFolders();
const settings = { maxSteps: 2 };

async function makeCheckpoint(folder: string): Promise<void> {
  const path = join(folder, "checkpoints", "step-000004");
  await mkdir(path, { recursive: true });
  await writeFile(join(path, "state.json"), "{}");
}

it("refuses a finished run, and replaces it on demand", async () => {
  const folder = await makeFolder();
  await trainToEnd(toyOptions(folder, { settings }));
  await writeFile(join(folder, "notes.txt"), "mine");
  await expect(openRunFolder(folder, {})).rejects.toThrow("a run that is finished");
  await (await openRunFolder(folder, { overwrite: true })).close();
  expect((await readdir(folder)).sort()).toEqual(["checkpoints", "notes.txt"]);
  expect(await readdir(join(folder, "checkpoints"))).toEqual([]);
});

it("refuses an unfinished run without resume", async () => {
  const folder = await makeFolder();
  await makeCheckpoint(folder);
  await expect(openRunFolder(folder, {})).rejects.toThrow("a run that stopped after step 4");
  const opened = await openRunFolder(folder, { resume: true });
  expect(await opened.latestCheckpoint()).toBe(join(folder, "checkpoints", "step-000004"));
  // A process killed between a checkpoint and its pointer leaves the pointer to the next one.
  expect(await readFile(join(folder, "checkpoints", "latest"), "utf8")).toBe("step-000004\n");
  await opened.close();
});

it("begins again where a run died before its first checkpoint", async () => {
  const folder = await makeFolder();
  await mkdir(join(folder, "checkpoints", ".writing-step-000004"), { recursive: true });
  await writeFile(join(folder, "metrics.jsonl"), "{}\n");
  await (await openRunFolder(folder, {})).close();
  expect(await readdir(join(folder, "checkpoints"))).toEqual([]);
});

it("replaces nobody's files, unless they are the recipe itself", async () => {
  const folder = await makeFolder();
  await writeFile(join(folder, "recipe.yaml"), "model: mine\n");
  await expect(openRunFolder(folder, { recipeText: "model: other\n" })).rejects.toThrow(
    "files that it would replace (recipe.yaml)",
  );
  await (await openRunFolder(folder, { recipeText: "model: mine\n" })).close();
  expect(await readFile(join(folder, "recipe.yaml"), "utf8")).toBe("model: mine\n");
});

it("refuses what cannot be a folder, and orders that contradict each other", async () => {
  const folder = await makeFolder();
  await writeFile(join(folder, "file"), "");
  await expect(openRunFolder(join(folder, "file"), {})).rejects.toThrow(
    "must be one that can be written to",
  );
  const both = { resume: true, overwrite: true };
  await expect(openRunFolder(folder, both)).rejects.toThrow("either continued or replaced");
});

it("lets go of the lock when it refuses", async () => {
  const folder = await makeFolder();
  await makeCheckpoint(folder);
  await expect(openRunFolder(folder, {})).rejects.toThrow();
  expect(await readdir(folder)).toEqual(["checkpoints"]);
});

it("can be asked beforehand, without anything being changed", async () => {
  const folder = await makeFolder();
  await trainToEnd(toyOptions(folder, { settings }));
  const before = await readdir(folder, { recursive: true });
  await expect(checkRunFolder(folder, {})).rejects.toThrow("a run that is finished");
  await checkRunFolder(folder, { overwrite: true });
  await checkRunFolder(folder, { resume: true });
  expect(await readdir(folder, { recursive: true })).toEqual(before);
  const opened = await openRunFolder(folder, { resume: true });
  await expect(checkRunFolder(folder, { resume: true })).rejects.toThrow("by one process");
  await opened.close();
});

it("takes no folder of another tool for a run, whatever it is asked to do", async () => {
  const folder = await makeFolder();
  await mkdir(join(folder, "checkpoints", "checkpoint-500"), { recursive: true });
  await mkdir(join(folder, "adapter"));
  await writeFile(join(folder, "metrics.jsonl"), "theirs\n");
  const before = await readdir(folder, { recursive: true });
  for (const how of [{}, { resume: true }, { overwrite: true }]) {
    await expect(openRunFolder(folder, how)).rejects.toThrow("would replace (adapter, checkpoints");
    await expect(checkRunFolder(folder, how)).rejects.toThrow(
      "would replace (adapter, checkpoints",
    );
  }
  expect(await readdir(folder, { recursive: true })).toEqual(before);
});
