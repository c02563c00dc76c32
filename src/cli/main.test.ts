// The command line as a whole: help, faults in four parts, exit codes, JSON for programs.

import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, it } from "vitest";
import { main } from "./main.ts";
import { testConsole } from "./testing/test-console.ts";

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "tunesmith-cli-"));
});
afterAll(() => rm(folder, { recursive: true }));

async function run(...args: string[]) {
  const console = testConsole();
  const code = await main(args, console);
  return { code, out: console.outText(), err: console.errText() };
}

const COMMANDS = [
  ...["init", "plan", "train", "eval", "generate", "chat"],
  ...["merge", "adapter", "models", "data", "doctor"],
];
/** Commands that are only groups of commands, and these. */
const GROUPS = ["adapter", "data"];
const IN_GROUPS = [
  "adapter show",
  "adapter merge",
  "adapter convert",
  "models show",
  "data preview",
];

it("lists every command, with --help and without anything", async () => {
  const { code, out } = await run("--help");
  expect(code).toBe(0);
  for (const command of COMMANDS) expect(out).toMatch(new RegExp(`^  ${command}\\b`, "m"));
  expect((await run()).out).toBe(out);
});

it.each([...COMMANDS.filter((name) => !GROUPS.includes(name)), ...IN_GROUPS])(
  "explains %s with examples",
  async (command) => {
    const { code, out } = await run(...command.split(" "), "--help");
    expect(code).toBe(0);
    expect(out).toContain(`Examples:\n  tunesmith ${command}`);
  },
);

it.each([
  [["trian"], "tunesmith: the first word is a command", "write train"],
  [["train"], "tunesmith train: the command needs one more argument", "see tunesmith train --help"],
  [["doctor", "--jsn"], "tunesmith doctor: a command has certain options only", "write --json"],
  [
    ["train", "r.yaml", "--train.epocs", "2"],
    "--train.epocs: a flag with a dot",
    "write --train.epochs",
  ],
  [
    ["adapter", "merge", "a", "b", "--weights", "x", "--out", "o"],
    "--weights: is a number",
    "write numbers, and folders in front of the flags",
  ],
  [
    ["export", "--model", "m", "--format", "onnx", "--max-shard-size", "big", "--out", "o"],
    "--max-shard-size: is a number with KB, MB or GB",
    "write --max-shard-size 2GB",
  ],
  [
    ["export", "--model", "m", "--max-shard-size", "1GB", "--out", "o"],
    "exporting: the largest file: is a number of bytes above 0, of the files of an ONNX folder",
    "leave it out",
  ],
  [
    ["adapter", "convert", "a", "--to", "ggfu", "--out", "o"],
    "--to: is one of lora, gguf",
    "write --to lora",
  ],
  [["merge"], "tunesmith merge: the command needs one more option", "see tunesmith merge --help"],
  [
    ["eval"],
    "tunesmith eval: it needs a recipe, or a model and data",
    "write `tunesmith eval recipe.yaml`",
  ],
  [
    ["generate", "--model", "x", "--top-p", "2", "hi"],
    "--top-p: a number of at least 0 and at most 1",
    "correct the number",
  ],
])("tells what is wrong with %j", async (args, rule, fix) => {
  const { code, out, err } = await run(...args);
  expect(code).toBe(1);
  expect(out).toBe("");
  expect(err).toContain(rule);
  expect(err).toMatch(/^ {4}saw {2}\S/m);
  expect(err).toContain(`    fix  ${fix}`);
  expect(err).not.toContain("    at ");
});

it("shows every fault of a recipe", async () => {
  const recipe = join(folder, "bad.yaml");
  await writeFile(recipe, "model: ./none\ndata: none.jsonl\nmethod: lora\ntrain: { epoch: 1 }\n");
  const { code, err } = await run("plan", recipe);
  expect(code).toBe(1);
  expect(err).toContain(`${recipe}:1:8`);
  expect(err).toContain(`${recipe}:2:7`);
  expect(err).toContain(`${recipe}:4:10`);
  expect(err).toContain("3 faults\n");
});

it("tells faults as JSON where JSON was asked for", async () => {
  const { code, out, err } = await run("train", join(folder, "gone.yaml"), "--json");
  expect(code).toBe(1);
  expect(err).toBe("");
  expect(JSON.parse(out).error.faults[0]).toMatchObject({ seen: "no such file" });
});

it("starts a recipe and does not replace one", async () => {
  const recipe = join(folder, "recipe.yaml");
  expect((await run("init", recipe, "--model", "owner/name")).code).toBe(0);
  expect(await readFile(recipe, "utf8")).toContain("\nmodel: owner/name\n");
  const vera = join(folder, "vera.yaml");
  expect((await run("init", vera, "--method", "vera")).code).toBe(0);
  expect(await readFile(vera, "utf8")).toMatch(/name: vera\n[\s\S]*# saveProjection: true/);
  const again = await run("init", recipe);
  expect(again.code).toBe(1);
  expect(again.err).toContain("--force");
});

it("describes the machine", async () => {
  const { code, out } = await run("doctor", "--json");
  expect(code).toBe(0);
  expect(JSON.parse(out).onnxRuntime.backends).toContain("cpu");
  expect((await run("doctor")).out).toMatch(/^ONNX Runtime +\d/m);
});
