// Images by the command: in conversations, in files of prompts, and in what a plan tells of a recipe.

import { spawn } from "node:child_process";
import { readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { afterAll, beforeAll, expect, it } from "vitest";
import { createSandbox, type Sandbox } from "./testing/sandbox.ts";

const PROGRAM = join(import.meta.dirname, "../bin/tunesmith.mjs");
const MODEL = ["--model", "my-vision-model", "--max-new-tokens", "6"];

let sandbox: Sandbox;
beforeAll(async () => {
  sandbox = await createSandbox();
});
afterAll(() => sandbox.remove());

/** What a piped conversation answers, and what is told beside. */
async function chat(lines: readonly string[], ...args: string[]) {
  const child = spawn(process.execPath, [PROGRAM, "chat", ...MODEL, ...args], {
    cwd: sandbox.folder,
    env: { ...process.env, NO_COLOR: "1", FORCE_COLOR: "" },
  });
  let [out, err] = ["", ""];
  child.stdout.on("data", (chunk) => {
    out += chunk;
  });
  child.stderr.on("data", (chunk) => {
    err += chunk;
  });
  child.stdin.end(lines.join("\n"));
  const code = await new Promise((resolve) => child.on("close", resolve));
  return { code, out, err };
}

const answerTo = async (...args: string[]) => {
  const { code, out, err } = await sandbox.tunesmith("generate", ...MODEL, "--json", ...args);
  expect(code, err).toBe(0);
  return JSON.parse(out).text as string;
};

it("shows images with the message that follows them", async () => {
  const [seeing, blind] = [
    await answerTo("what?", "--image", "photo.jpg"),
    await answerTo("what?"),
  ];
  expect(seeing).not.toBe(blind);
  const talked = await chat([
    "/image",
    "/image phoho.jpg",
    "/image 'photo.jpg'",
    "what?",
    "/new",
    "what?",
  ]);
  expect(talked.code, talked.err).toBe(0);
  expect(talked.err).toMatch(/name its file[\s\S]*did you mean photo.jpg[\s\S]*12 tokens/);
  expect(talked.out).toBe(`${seeing}\n${blind}\n`);
  expect((await chat(["what?"], "--image", "photo.jpg")).out).toBe(`${seeing}\n`);
}, 120_000);

it("tells a first image that is none before anything is said", async () => {
  const { code, out, err } = await chat(["what?"], "--image", "train.jsonl");
  expect([code, out]).toEqual([1, ""]);
  expect(err).toContain("an image is a whole file of a known kind");
}, 120_000);

it("answers a file of prompts with images, each as alone", async () => {
  const prompt = [{ role: "user", content: [{ type: "image" }, { type: "text", text: "what?" }] }];
  const records = [
    { prompt, images: ["photo.jpg"] },
    { prompt: "what?" },
    { messages: [...prompt, { role: "assistant", content: "waves" }], images: "photo.jpg" },
  ];
  const write = (rows: readonly object[]) =>
    writeFile(
      join(sandbox.folder, "asked.jsonl"),
      rows.map((row) => JSON.stringify(row)).join("\n"),
    );
  const answer = () =>
    sandbox.tunesmith("generate", ...MODEL, "--data", "asked.jsonl", "--out", "answered.jsonl");
  await write(records);
  const done = await answer();
  expect(done.code, done.err).toBe(0);
  const text = await readFile(join(sandbox.folder, "answered.jsonl"), "utf8");
  const replies = text
    .trimEnd()
    .split("\n")
    .map((line) => JSON.parse(line).reply);
  const seeing = await answerTo("what?", "--image", "photo.jpg");
  expect(replies).toEqual([seeing, await answerTo("what?"), seeing]);

  await write([records[1]!, { prompt, images: ["gone.jpg"] }]);
  const refused = await answer();
  expect([refused.code, refused.out]).toEqual([1, ""]);
  expect(refused.err).toMatch(/asked.jsonl:2 \(.*gone.jpg\)/);
  const both = ["--data", "asked.jsonl", "--out", "x.jsonl", "--image", "photo.jpg"];
  const crossed = await sandbox.tunesmith("generate", ...MODEL, ...both);
  expect(crossed.err).toMatch(/images stand in front of one prompt/);
}, 120_000);

it("a plan tells what images take, and why they are encoded as often as they are", async () => {
  const planOf = async (targets: string) => {
    const method = `{ name: lora, targets: ${targets} }`;
    const recipe = `model: my-vision-model\ndata: photos.jsonl\nmethod: ${method}\ntrain: { epochs: 3 }\n`;
    await writeFile(join(sandbox.folder, "seeing.yaml"), recipe);
    const { code, out, err } = await sandbox.tunesmith("plan", "seeing.yaml");
    expect(code, err).toBe(0);
    return out;
  };
  const alone = await planOf('".*text_model.*q_proj"');
  expect(alone).toMatch(/images +2 images in 1 file, 12 tokens each \(24 in all\), 2 squares/);
  expect(alone).toContain("<photo.jpg: 12 tokens>");
  expect(alone).toMatch(/images +1 squares? encoded once each/);
  expect(alone).toMatch(/one block of the encoder at work +\d/);
  expect(await planOf("[q_proj]")).toMatch(/images +\d+ squares encoded in every step/);
}, 120_000);
