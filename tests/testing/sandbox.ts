// A folder like that of somebody who has just read the documentation: a small model, a file of chats,
// and the package installed. Commands and TypeScript from the documentation run in it.

import { spawn } from "node:child_process";
import { copyFile, mkdir, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import {
  tinyChats,
  writeTinyModel,
  writeTinyVisionModel,
} from "../../src/recipe/testing/tiny-model.ts";

const ROOT = join(import.meta.dirname, "..", "..");
const PHOTO = join(ROOT, "tests/parity/cases/image-processor/photo.jpg");
const PROGRAM = join(ROOT, "bin", "tunesmith.mjs");

export interface Result {
  readonly code: number | null;
  readonly out: string;
  readonly err: string;
}

export interface Sandbox {
  readonly folder: string;
  /** Runs `node args…` in the folder. */
  node(...args: string[]): Promise<Result>;
  tunesmith(...args: string[]): Promise<Result>;
  /** Runs TypeScript that may import "tunesmith". */
  script(text: string): Promise<Result>;
  remove(): Promise<void>;
}

/**
 * Makes the folder, with `my-model/`, `train.jsonl` and `test.jsonl`, and for what looks at images
 * `my-vision-model/`, `photos.jsonl` and `photo.jpg`.
 */
export async function createSandbox(): Promise<Sandbox> {
  const folder = await mkdtemp(join(tmpdir(), "tunesmith-sandbox-"));
  const model = join(folder, "my-model");
  await writeTinyModel(model);
  // Room for prompts of the length that people write.
  const config = JSON.parse(await readFile(join(model, "config.json"), "utf8"));
  await writeFile(
    join(model, "config.json"),
    JSON.stringify({ ...config, max_position_embeddings: 1024 }),
  );
  await writeFile(join(folder, "train.jsonl"), tinyChats(40));
  await writeFile(join(folder, "test.jsonl"), tinyChats(4).replaceAll("say", "tell"));

  await writeTinyVisionModel(join(folder, "my-vision-model"));
  await copyFile(PHOTO, join(folder, "photo.jpg"));
  const asked = { role: "user", content: [{ type: "image" }, { type: "text", text: "what?" }] };
  const answered = { role: "assistant", content: "waves" };
  const photo = JSON.stringify({ messages: [asked, answered], images: ["photo.jpg"] });
  await writeFile(join(folder, "photos.jsonl"), `${photo}\n${photo}\n`);

  const installed = join(folder, "node_modules", "tunesmith");
  await mkdir(installed, { recursive: true });
  await writeFile(
    join(installed, "package.json"),
    JSON.stringify({ name: "tunesmith", type: "module", exports: "./index.js" }),
  );
  const source = pathToFileURL(join(ROOT, "src", "index.ts")).href;
  await writeFile(join(installed, "index.js"), `export * from ${JSON.stringify(source)};\n`);
  await writeFile(join(folder, "package.json"), JSON.stringify({ type: "module" }));

  const node = (...args: string[]): Promise<Result> => {
    const child = spawn(process.execPath, ["--disable-warning=ExperimentalWarning", ...args], {
      cwd: folder,
      stdio: ["ignore", "pipe", "pipe"],
      env: { ...process.env, NO_COLOR: "1", FORCE_COLOR: "" },
    });
    let out = "";
    let err = "";
    child.stdout.on("data", (chunk) => {
      out += chunk;
    });
    child.stderr.on("data", (chunk) => {
      err += chunk;
    });
    return new Promise((resolve) => child.on("close", (code) => resolve({ code, out, err })));
  };

  let scripts = 0;
  return {
    folder,
    node,
    tunesmith: (...args) => node(PROGRAM, ...args),
    async script(text) {
      const file = join(folder, `script-${++scripts}.ts`);
      await writeFile(file, text);
      return node(file);
    },
    remove: () => rm(folder, { recursive: true }),
  };
}
