// The real command on a tiny model: from a recipe to an adapter, a merged model, an evaluation; and
// Ctrl-C, after which the run goes on where it stopped.

import { spawn } from "node:child_process";
import { copyFile, mkdir, mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, it } from "vitest";
import { tinyChats, writeTinyModel } from "../src/recipe/testing/tiny-model.ts";

const PROGRAM = join(import.meta.dirname, "..", "bin", "tunesmith.mjs");

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "tunesmith-command-"));
  await writeTinyModel(join(folder, "model"));
  await writeFile(join(folder, "train.jsonl"), tinyChats(40));
  await writeFile(
    join(folder, "recipe.yaml"),
    "model: ./model\ndata: { train: train.jsonl, eval: 0.2 }\nmethod: { name: lora, rank: 4 }\n" +
      "train: { epochs: 2, learningRate: 0.02, batchSize: 8 }\noutput: runs/first\n",
  );
});
afterAll(() => rm(folder, { recursive: true }));

interface Result {
  readonly code: number | null;
  readonly out: string;
  readonly err: string;
}

/** Runs the command; `onOutput` sees all of its output so far and may send it signals. */
function tunesmith(
  args: string[],
  onOutput: (text: string, interrupt: () => void) => void = () => {},
): Promise<Result> {
  const child = spawn(process.execPath, [PROGRAM, ...args], {
    cwd: folder,
    stdio: ["ignore", "pipe", "pipe"],
    env: { ...process.env, NO_COLOR: "1", FORCE_COLOR: "" },
  });
  let out = "";
  let err = "";
  const seen = () => onOutput(out + err, () => child.kill("SIGINT"));
  child.stdout.on("data", (chunk) => {
    out += chunk;
    seen();
  });
  child.stderr.on("data", (chunk) => {
    err += chunk;
    seen();
  });
  return new Promise((resolve) => child.on("close", (code) => resolve({ code, out, err })));
}

it("trains, refuses to train over it, evaluates and merges", async () => {
  const trained = await tunesmith(["train", "recipe.yaml"]);
  expect(trained.err).toContain("evaluation at step 0: held-out loss");
  expect(trained.code, trained.err).toBe(0);
  const [, before, after] = /held-out loss ([\d.]+) before, ([\d.]+) after/.exec(trained.out)!;
  expect(Number(after)).toBeLessThan(0.9 * Number(before));
  expect(await readdir(join(folder, "runs/first"))).toEqual(
    expect.arrayContaining(["adapter", "checkpoints", "loss.svg", "metrics.jsonl", "recipe.yaml"]),
  );

  const again = await tunesmith(["train", "recipe.yaml"]);
  expect(again.code).toBe(1);
  expect(again.err).toContain("a new run needs a folder without an earlier run");

  const report = await tunesmith(["eval", "recipe.yaml", "--json"]);
  const { base, adapted } = JSON.parse(report.out);
  expect(base.loss).toBeCloseTo(Number(before), 3);
  expect(adapted.loss).toBeCloseTo(Number(after), 3);

  const merge = ["merge", "--model", "model", "--adapter", "runs/first/adapter", "--out", "merged"];
  expect((await tunesmith(merge)).code).toBe(0);
  const merged = await tunesmith(["eval", "recipe.yaml", "--model", "merged", "--json"]);
  expect(JSON.parse(merged.out).base.loss).toBeCloseTo(adapted.loss, 4);
  expect(report.err).not.toContain("was trained on");
  expect(merged.err).toMatch(/^! \S+adapter was trained on \S+model and is put on \S+merged: .*$/m);
  const refused = await tunesmith(merge);
  expect(refused.code).toBe(1);
  expect(refused.err).toContain("a merged model does not overwrite files");
}, 120_000);

it("learns labels, measures how often they are right, and tells those of texts", async () => {
  const moods = { good: "aeiou", bad: "xyzwv" };
  const records = Object.entries(moods).flatMap(([label, letters]) =>
    Array.from({ length: 20 }, (_, i) => ({
      text: Array.from({ length: 3 + (i % 6) }, (_, j) => letters[(i * (j + 2)) % 5]).join(""),
      mood: label,
    })),
  );
  const lines = records.map((record) => JSON.stringify(record));
  await writeFile(join(folder, "moods.jsonl"), lines.join("\n"));
  await writeFile(
    join(folder, "moods.yaml"),
    "model: ./model\ndata: { train: moods.jsonl, eval: 0.2, columns: { label: mood } }\n" +
      "method: { name: lora, rank: 4 }\nobjective: classification\n" +
      "train: { epochs: 6, learningRate: 0.02, batchSize: 8 }\noutput: runs/moods\n",
  );
  const plan = await tunesmith(["plan", "moods.yaml"]);
  expect(plan.out).toMatch(/labels.*bad.*good.*found in the training data/);
  expect(plan.out).toContain("label good");

  const trained = await tunesmith(["train", "moods.yaml"]);
  expect(trained.code, trained.err).toBe(0);
  expect(trained.err).toMatch(/held-out loss [\d.]+, accuracy 1\.0000, macro F1 1\.0000/);
  expect(trained.out).toContain("tunesmith classify --model");
  const report = JSON.parse((await tunesmith(["eval", "moods.yaml", "--json"])).out);
  expect(report.adapted).toMatchObject({ accuracy: 1, macroF1: 1, targetTokens: 8 });
  expect(report.base.accuracy).toBeLessThan(1);
  const card = await readFile(join(folder, "runs/moods/adapter/README.md"), "utf8");
  expect(card).toContain("pipeline_tag: text-classification");
  expect(card).toContain("AutoModelForSequenceClassification.from_pretrained");

  const adapter = ["--adapter", "runs/moods/adapter"];
  await writeFile(join(folder, "moods-test.jsonl"), JSON.stringify({ text: "aoa", label: "good" }));
  const alone = ["eval", "--model", "model", ...adapter, "--data", "moods-test.jsonl"];
  expect((await tunesmith(alone)).out).toMatch(/1 texts measured +loss +accuracy/);

  const said = await tunesmith([
    "classify",
    "--model",
    "model",
    ...adapter,
    "aeou",
    "zyxx",
    "--json",
  ]);
  expect(said.code, said.err).toBe(0);
  const verdicts = said.out
    .trim()
    .split("\n")
    .map((line) => JSON.parse(line));
  expect(verdicts.map(({ labels }) => labels)).toEqual([["good"], ["bad"]]);
  expect(verdicts[0].scores.good + verdicts[0].scores.bad).toBeCloseTo(1, 6);

  const merge = ["merge", "--model", "model", ...adapter, "--out", "moods"];
  expect((await tunesmith(merge)).code).toBe(0);
  await writeFile(join(folder, "texts.txt"), "aeou\nzyxx\n");
  const merged = await tunesmith(["classify", "--model", "moods", "--file", "texts.txt"]);
  expect(merged.out).toMatch(/^good [\d.]+ +bad [\d.]+ +aeou\nbad [\d.]+ +good [\d.]+ +zyxx\n$/);

  const chat = await tunesmith(["generate", "--model", "moods", "hi"]);
  expect(chat.code).toBe(1);
  expect(chat.err).toContain("a classifier of bad, good");
  const wrong = await tunesmith(["plan", "moods.yaml", "--objective.labels", "[good, fine]"]);
  expect(wrong.err).toMatch(/moods\.jsonl:21.*\n.*"bad"/);
}, 120_000);

it("shows which models there are, and what one is", async () => {
  const supported = await tunesmith(["models"]);
  expect(supported.code, supported.err).toBe(0);
  expect(supported.out).toMatch(/^llama {2,}LLaMA.* GGUF read and written$/m);
  expect(supported.out).toMatch(/^safetensors, read {2,}F32, /m);

  const shown = await tunesmith(["models", "show", "model"]);
  expect(shown.code, shown.err).toBe(0);
  expect(shown.out).toMatch(/^layers {2,}2, \d+ wide$/m);
  expect(shown.out).toContain("u:Hello!</s>a:Good day.</s>");
  const facts = JSON.parse((await tunesmith(["models", "show", "model", "--json"])).out);
  expect(facts.config.num_hidden_layers).toBe(2);

  const config = JSON.parse(await readFile(join(folder, "model/config.json"), "utf8"));
  await mkdir(join(folder, "other"));
  const other = { ...config, model_type: "lama" };
  await writeFile(join(folder, "other/config.json"), JSON.stringify(other));
  await copyFile(join(folder, "model/model.safetensors"), join(folder, "other/model.safetensors"));
  const unknown = await tunesmith(["models", "show", "other"]);
  expect(unknown.code).toBe(1);
  expect(unknown.err).toContain('set "model_type": "llama"');
}, 120_000);

it("saves at Ctrl-C and goes on with --resume", async () => {
  const flags = ["--output", "runs/second", "--train.epochs", "40", "--data.eval", "0"];
  let interrupted = false;
  const stopped = await tunesmith(
    ["train", "recipe.yaml", ...flags, "--json"],
    (text, interrupt) => {
      if (interrupted || !text.includes('"step":3,')) return;
      interrupted = true;
      interrupt();
    },
  );
  expect(stopped.code, stopped.err).toBe(130);
  expect(stopped.err).toContain("the checkpoint is being saved");
  const last = JSON.parse(stopped.out.trim().split("\n").at(-1)!);
  expect(last).toMatchObject({ type: "run-finished", stoppedBecause: "aborted" });

  const resumed = await tunesmith([
    "train",
    "recipe.yaml",
    ...flags,
    "--train.epochs",
    "3",
    "--resume",
    "--json",
  ]);
  expect(resumed.code, resumed.err).toBe(0);
  const events = resumed.out
    .trim()
    .split("\n")
    .map((line) => JSON.parse(line));
  expect(events[0]).toMatchObject({ type: "run-started", resumedFromStep: last.step });
  expect(await readFile(join(folder, "runs/second/adapter/adapter_config.json"), "utf8")).toContain(
    '"peft_type": "LORA"',
  );
}, 120_000);

it("saves when nobody reads its output any more", async () => {
  const flags = ["--output", "runs/unread", "--train.epochs", "400", "--data.eval", "0"];
  const child = spawn(process.execPath, [PROGRAM, "train", "recipe.yaml", ...flags, "--json"], {
    cwd: folder,
    stdio: ["ignore", "pipe", "ignore"],
  });
  child.stdout.once("data", () => child.stdout.destroy());
  const code = await new Promise((resolve) => child.on("exit", resolve));
  expect(code).toBe(130);
  expect(await readdir(join(folder, "runs/unread/checkpoints"))).toContain("latest");
}, 120_000);

it.each(["full", "freeze"])(
  "measures and suggests the whole model that %s leaves",
  async (method) => {
    await writeFile(
      join(folder, "whole.yaml"),
      `model: ./model\ndata: { train: train.jsonl, eval: 0.2 }\nmethod: ${method}\n` +
        `train: { epochs: 1, learningRate: 0.01, batchSize: 8 }\noutput: runs/${method}\n`,
    );
    const trained = await tunesmith(["train", "whole.yaml"]);
    expect(trained.code, trained.err).toBe(0);
    expect(trained.out).toMatch(/model in (\S+)\n\nNext:\n {2}tunesmith chat --model \1\n$/);
    const [, after] = /before, ([\d.]+) after/.exec(trained.out)!;
    const report = await tunesmith(["eval", "whole.yaml", "--json"]);
    expect(JSON.parse(report.out).adapted.loss, report.err).toBeCloseTo(Number(after), 3);
  },
  120_000,
);

it("suggests and measures an adapter over the quantised base that it was trained on", async () => {
  await writeFile(
    join(folder, "qlora.yaml"),
    "model: ./model\ndata: { train: train.jsonl, eval: 0.2 }\nmethod: qlora\n" +
      "train: { epochs: 1, learningRate: 0.01, batchSize: 8 }\noutput: runs/qlora\n",
  );
  const trained = await tunesmith(["train", "qlora.yaml"]);
  expect(trained.code, trained.err).toBe(0);
  expect(trained.out).toMatch(/chat --model \S+ --adapter \S+ --quantization nf4\n$/);

  const losses = async (...args: string[]) => {
    const { code, out, err } = await tunesmith([
      "eval",
      "--data",
      "train.jsonl",
      "--json",
      ...args,
    ]);
    expect(code, err).toBe(0);
    const { base, adapted } = JSON.parse(out);
    return [base.loss, adapted.loss];
  };
  const alone = ["--model", "model", "--adapter", "runs/qlora/adapter"];
  const asTrained = await losses("qlora.yaml");
  expect(await losses(...alone, "--quantization", "nf4")).toEqual(asTrained);
  expect(await losses(...alone)).not.toEqual(asTrained);
  expect(await losses("qlora.yaml", "--quantization", "int8")).not.toEqual(asTrained);
}, 120_000);

it("answers every line of a piped conversation", async () => {
  const args = ["chat", "--model", "model", "--max-new-tokens", "4"];
  const child = spawn(process.execPath, [PROGRAM, ...args], {
    cwd: folder,
    env: { ...process.env, NO_COLOR: "1", FORCE_COLOR: "" },
  });
  let err = "";
  child.stderr.on("data", (chunk) => {
    err += chunk;
  });
  child.stdin.end("hi\n/halp\n/help\nho\n\nha\n/exit\nnever said\n");
  const code = await new Promise((resolve) => child.on("close", resolve));
  expect(code, err).toBe(0);
  expect(err.match(/model (?!that)/g)).toHaveLength(3);
  expect(err).toMatch(/\/halp is none of \/new, [\s\S]*\/exit +ends the program/);
}, 120_000);

it("answers a file of prompts into a file, as each is answered alone", async () => {
  const prompts = [
    { id: 7, prompt: "hi" },
    { messages: [{ role: "user", content: "ho" }] },
    { text: "say 3", reply: "an old one" },
  ];
  const records = [...prompts, ...prompts, ...prompts].map((prompt) => JSON.stringify(prompt));
  await writeFile(join(folder, "questions.jsonl"), records.join("\n"));
  const ask = (...more: string[]) =>
    tunesmith(["generate", "--model", "model", "--max-new-tokens", "9", ...more]);
  const answered = await ask("--data", "questions.jsonl", "--out", "answers.jsonl", "--batch", "2");
  expect(answered.code, answered.err).toBe(0);
  const { text, stoppedBecause } = JSON.parse((await ask("--json", "hi")).out);
  const lines = (await readFile(join(folder, "answers.jsonl"), "utf8")).trimEnd().split("\n");
  const answers = lines.map((line) => JSON.parse(line));
  const cutOff = answers.filter(({ stoppedBecause }) => stoppedBecause === "length").length;
  expect(answered.out.replace(/\d+ tokens/, "n tokens")).toBe(
    `9 of 9 records answered in answers.jsonl${cutOff > 0 ? `, ${cutOff} cut off` : ""}, n tokens/s\n`,
  );
  expect(answers.map(({ id }) => id ?? 0)).toEqual([7, 0, 0, 7, 0, 0, 7, 0, 0]);
  expect(answers[3]).toEqual({ ...prompts[0], reply: text, stoppedBecause });
  expect(answers[5].reply).not.toBe("an old one");

  await writeFile(join(folder, "questions.jsonl"), `${records[0]}\n{"question": "what?"}`);
  const refused = await ask("--data", "questions.jsonl", "--out", "answers.jsonl");
  expect([refused.code, refused.out]).toEqual([1, ""]);
  expect(refused.err).toMatch(/questions.jsonl:2[\s\S]*prompt, messages[\s\S]*columns question/);
  expect(await readFile(join(folder, "answers.jsonl"), "utf8")).toBe(`${lines.join("\n")}\n`);
  const half = await ask("--data", "questions.jsonl");
  expect([half.code, half.out]).toEqual([1, ""]);
  expect(half.err).toMatch(/no --out/);
}, 120_000);

it("generates the same text for the same seed", async () => {
  const generate = (seed: string) =>
    tunesmith([
      "generate",
      "hi",
      "--model",
      "model",
      "--temperature",
      "1",
      "--seed",
      seed,
      "--max-new-tokens",
      "9",
      "--json",
    ]);
  const [first, same, other] = [await generate("1"), await generate("1"), await generate("2")];
  expect(first.code, first.err).toBe(0);
  const { prompt, text } = JSON.parse(first.out);
  expect(prompt).toBe("hi");
  expect(text.length).toBeGreaterThan(0);
  expect(same.out).toBe(first.out);
  expect(other.out).not.toBe(first.out);
}, 120_000);

const inForm = (...more: string[]) =>
  tunesmith(["generate", "--model", "model", "--max-new-tokens", "30", ...more]);

it("answers by a schema, a regular expression or a grammar", async () => {
  const schema = { type: "object", properties: { n: { enum: [1, 2] } }, required: ["n"] };
  await writeFile(join(folder, "number.json"), JSON.stringify(schema));
  await writeFile(join(folder, "sum.gbnf"), 'root ::= [0-9] ("+" [0-9]){2}');
  const [json, regex, grammar] = [
    await inForm("--json-schema", "number.json", "--temperature", "1.5", "hi"),
    await inForm("--regex", "(yes|no)!", "--json", "hi"),
    await inForm("--grammar", "sum.gbnf", "--raw", "hi"),
  ];
  expect(json.code, json.err).toBe(0);
  expect([1, 2]).toContain(JSON.parse(json.out).n);
  expect(JSON.parse(regex.out)).toEqual({
    prompt: "hi",
    text: expect.stringMatching(/^(yes|no)!$/),
    stoppedBecause: "complete",
  });
  expect(grammar.out).toMatch(/^\d\+\d\+\d\n$/);

  const questions = ["hi", "ho", "say 3"].map((prompt) => JSON.stringify({ prompt }));
  await writeFile(join(folder, "asked.jsonl"), questions.join("\n"));
  const file = ["--data", "asked.jsonl", "--out", "told.jsonl", "--batch", "2"];
  const answered = await inForm(...file, "--json-schema", "number.json");
  expect(answered.code, answered.err).toBe(0);
  const lines = (await readFile(join(folder, "told.jsonl"), "utf8")).trimEnd().split("\n");
  expect(lines).toHaveLength(3);
  for (const [i, line] of lines.entries()) {
    const { prompt, reply, stoppedBecause } = JSON.parse(line);
    expect({ prompt }).toEqual(JSON.parse(questions[i]!));
    expect([1, 2]).toContain(JSON.parse(reply).n);
    expect(stoppedBecause).toBe("complete");
  }
}, 120_000);

it("tells an answer that was cut off, and what cannot be a form", async () => {
  const cut = await inForm("--regex", "a{40}", "hi");
  expect([cut.code, cut.out]).toEqual([1, `${"a".repeat(30)}\n`]);
  expect(cut.err).toMatch(/^incomplete {2}the answer was cut off at --max-new-tokens/m);

  // Of a file, each record says so; how many there are is told at the end.
  await writeFile(join(folder, "asked.jsonl"), '{"prompt":"hi"}\n{"prompt":"ho"}');
  const file = ["--data", "asked.jsonl", "--out", "cut.jsonl", "--regex", "a{40}"];
  const cutFile = await inForm(...file);
  expect([cutFile.code, cutFile.out]).toEqual([0, expect.stringContaining(", 2 cut off, ")]);

  await writeFile(join(folder, "not.json"), '{"properties":{"a":{"not":{}}}}');
  await writeFile(join(folder, "broken.json"), "{");
  for (const [flags, message] of [
    [["--regex", "a", "--grammar", "g"], /--regex, --grammar: [\s\S]*held to one form/],
    [["--json-schema", "missing.json"], /--json-schema: the file can be read[\s\S]*ENOENT/],
    [["--json-schema", "broken.json"], /broken.json: a schema is a JSON object/],
    [["--json-schema", "not.json"], /not.json#\/properties\/a\/not/],
    [["--regex", "(a"], /--regex: a pattern is a regular expression/],
  ] as const) {
    // Before the model is opened: there is none.
    const refused = await tunesmith(["generate", "--model", "no-model", ...flags, "hi"]);
    expect([refused.code, refused.out]).toEqual([1, ""]);
    expect(refused.err).toMatch(message);
  }
}, 120_000);
