// What cannot be trained or loaded, through the real command: named with a fix before the first step,
// without a stack trace, and by a code other than 0. A plan refuses what training would.

import { copyFile, cp, mkdir, readdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { type AdapterTensor, openSafetensors, writeSafetensors } from "../src/hub/index.ts";
import { writeTinyModel } from "../src/recipe/testing/tiny-model.ts";
import { createSandbox, type Result, type Sandbox } from "./testing/sandbox.ts";

let sandbox: Sandbox;
const at = (...names: string[]) => join(sandbox.folder, ...names);

/** Writes `<name>.yaml`, whose run goes to `runs/<name>`. */
async function writeRecipe(name: string, method: string, rest = ""): Promise<string> {
  const file = `${name}.yaml`;
  await writeFile(
    at(file),
    `model: ./my-model\ndata: { train: train.jsonl }\nmethod: ${method}\n` +
      `train: { maxSteps: 4, batchSize: 4 }\noutput: runs/${name}\n${rest}`,
  );
  return file;
}

/** A copy of a folder in which one file is another. */
async function withFile(copy: string, of: string, file: string, content: string | Uint8Array) {
  await cp(at(of), at(copy), { recursive: true });
  await writeFile(at(copy, file), content);
}

/** The same model without its second layer. */
async function makeShallow(): Promise<void> {
  await cp(at("my-model"), at("shallow"), { recursive: true });
  const config = JSON.parse(await readFile(at("shallow/config.json"), "utf8"));
  await writeFile(at("shallow/config.json"), JSON.stringify({ ...config, num_hidden_layers: 1 }));
  const file = await openSafetensors(at("my-model/model.safetensors"));
  const kept: (AdapterTensor & { name: string; dtype: "F32" })[] = [];
  for (const [name, { shape }] of file.tensors) {
    if (name.includes(".layers.1.")) continue;
    const data = new Float32Array(shape.reduce((size, one) => size * one, 1));
    await file.readInto(name, new Uint8Array(data.buffer));
    kept.push({ name, shape, dtype: "F32", data });
  }
  await file.close();
  await writeSafetensors(at("shallow/model.safetensors"), kept);
}

const WEIGHTS = "adapter_model.safetensors";
const ADAPTER = "runs/lora/adapter";

beforeAll(async () => {
  sandbox = await createSandbox();
  await makeShallow();
  const trained = await sandbox.tunesmith(
    "train",
    await writeRecipe("lora", "{ name: lora, rank: 4 }"),
  );
  expect(trained.code, trained.err).toBe(0);
  const weights = await readFile(at(ADAPTER, WEIGHTS));
  const config = await readFile(at(ADAPTER, "adapter_config.json"), "utf8");
  const noise = Uint8Array.from({ length: 4096 }, (_, i) => (i * 131 + 89) % 251);
  await withFile("noise", ADAPTER, WEIGHTS, noise);
  await withFile("cut", ADAPTER, WEIGHTS, weights.subarray(0, weights.length - 700));
  await withFile("other-rank", ADAPTER, "adapter_config.json", config.replace('"r": 4', '"r": 8'));
  await withFile("no-config", ADAPTER, "adapter_config.json", "{");
  for (const name of ["a", "b"]) {
    const method = `{ name: adapter, reductionFactor: 4, adapterName: ${name} }`;
    const recipe = await writeRecipe(`bottleneck-${name}`, method);
    expect((await sandbox.tunesmith("train", recipe)).code).toBe(0);
  }
  const bottleneck = "runs/bottleneck-b/adapter";
  const own = await readFile(at(bottleneck, "adapter.safetensors"));
  await withFile("cut-bottleneck", bottleneck, "adapter.safetensors", own.subarray(0, -700));
  await mkdir(at("no-weights"));
  await copyFile(at(ADAPTER, "adapter_config.json"), at("no-weights/adapter_config.json"));
});
afterAll(() => sandbox.remove());

/** Where, rule, seen and fix of each fault, and nothing of the program's inside. */
function expectFault({ code, err, out }: Result, told: readonly string[]): void {
  expect(code, out + err).toBe(1);
  expect(err).toMatch(/^✗ .+: .+\n {4}saw {2}.+\n {4}fix {2}.+$/m);
  for (const part of told) expect(err).toContain(part);
  expect(err + out).not.toMatch(/\n\s+at |node:internal|\.ts:\d/);
}

/** What is behind warnings of Node's own. */
const faultsIn = ({ err }: Result): string => err.slice(err.indexOf("✗"));

const FULL = "{ name: full }";
const SCARCE = "{ name: adalora, initialRank: 3, targetRank: 2, initialSteps: 3, finalSteps: 3 }";
const BIG = "{ name: lora, rank: 20, targets: [k_proj, v_proj] }";

describe("a recipe", () => {
  it.each<[string, string, string[], string[]]>([
    ["targets", "{ name: lora, targets: [qkv] }", [], ['"qkv" matches no module', "targets"]],
    [
      "ranks",
      BIG,
      [],
      [
        "ranks.yaml:3:29 method.rank: a rank is at most the smaller side",
        "20 at model.layers.0.self_attn.k_proj, of shape [16, 32], and at 3 more of that shape",
        "use 16 or less, or rankPattern: { k_proj: 16, v_proj: 16 }",
      ],
    ],
    [
      "bottleneck",
      "{ name: adapter, preset: adapter_plus }",
      [],
      ["method.reductionFactor: a bottleneck keeps at least one", "96 at", "use 32 or less"],
    ],
    ["steps", SCARCE, [], ["steps left for pruning", "3 initial and 3 final steps of 4"]],
    [
      "loftq",
      "{ name: lora, init: loftq }",
      [],
      ["loftq.yaml:3:29 method.init", "of which it takes nothing", "use method qlora"],
    ],
    [
      "look",
      "{ name: lora, init: eva, rank: 12, evaRho: 3, targets: [k_proj] }",
      [],
      ["evaRho", "rank × evaRho = 36", "use a lower rank or evaRho"],
    ],
    ["two", "{ name: lora, dora: true, loraBias: true }", [], ["dora: true", "leave out loraBias"]],
    [
      "union",
      "{ name: unipelt, union: [{ kind: lora }, { kind: lora }] }",
      [],
      ["method.union.1", "which part 0 changes too", "leave one of them out"],
    ],
    [
      "full",
      FULL,
      ["--model.quantization", "nf4"],
      ["method full: quantised weights are frozen", "load the model without quantization"],
    ],
    [
      "taken",
      "{ name: lora, init: pissa }",
      ["--model.quantization", "nf4"],
      ["needs them unquantised", "use init: true"],
    ],
    [
      "whole",
      "{ name: lora, targets: [k_proj], modulesToSave: [q_proj] }",
      ["--model.quantization", "int8"],
      ["method lora: quantised weights are frozen", "it trains model.layers.0.self_attn.q_proj"],
    ],
    [
      "mixture",
      `{ name: x-lora, adapters: [${ADAPTER}, other-rank] }`,
      [],
      [
        "other-rank: ",
        "asks for a tensor of shape [8, 32]",
        "[4, 32]",
        "mix adapters of this base",
      ],
    ],
    [
      "damaged",
      `{ name: x-lora, adapters: [${ADAPTER}, cut] }`,
      [],
      [`cut/${WEIGHTS}`, "truncated", "damaged"],
    ],
    [
      "fusion",
      "{ name: adapter-fusion, adapters: [runs/bottleneck-a/adapter, cut-bottleneck] }",
      [],
      ["cut-bottleneck/adapter.safetensors", "truncated", "damaged"],
    ],
  ])(
    "%s is refused alike by plan and train, before the first step",
    async (name, method, flags, told) => {
      const recipe = await writeRecipe(name, method);
      const trained = await sandbox.tunesmith("train", recipe, ...flags);
      expectFault(trained, told);
      const left = await readdir(at("runs", name)).catch(() => []);
      expect(left).not.toContain("metrics.jsonl");
      const planned = await sandbox.tunesmith("plan", recipe, ...flags);
      expect([planned.code, faultsIn(planned)]).toEqual([1, faultsIn(trained)]);
    },
  );

  it("of a model whose weights are of another shape is refused alike as well", async () => {
    const config = await readFile(at("my-model/config.json"), "utf8");
    const other = config.replace('"intermediate_size":36', '"intermediate_size":40');
    await withFile("wide", "my-model", "config.json", other);
    const recipe = await writeRecipe("wide-run", "{ name: lora }");
    for (const command of ["train", "plan"])
      expectFault(await sandbox.tunesmith(command, recipe, "--model", "wide"), [
        "mlp.gate_proj.weight: config.json asks for a tensor of shape [40, 32]",
        "[36, 32]",
      ]);
  });

  it("that asks a model in nf4 for products in int8 is refused alike as well", async () => {
    const rounded = join(import.meta.dirname, "parity/cases/qlora/nf4-double/model");
    await writeTinyModel(at("rounded"), rounded);
    const recipe = await writeRecipe("rounded-run", "{ name: lora, rank: 4 }");
    const args = [recipe, "--model", "rounded", "--model.arithmetic", "int8"];
    for (const command of ["train", "plan"])
      expectFault(await sandbox.tunesmith(command, ...args), [
        "products in 8-bit integers read weights that are kept as int8",
        "a checkpoint quantised to nf4",
      ]);
  });

  it("with biases alone trains over quantised weights, which it leaves alone", async () => {
    const recipe = await writeRecipe("bitfit", "{ name: bitfit }");
    const { code, err } = await sandbox.tunesmith("train", recipe, "--model.quantization", "nf4");
    expect(code, err).toBe(0);
  });
});

describe("a run folder", () => {
  it("of another method names both methods", async () => {
    const recipe = await writeRecipe("ia3", "{ name: ia3 }");
    const args = ["train", recipe, "--output", "runs/lora", "--resume"];
    expectFault(await sandbox.tunesmith(...args), [
      'the run has method "lora", the recipe "ia3"',
      "continue with the recipe of that run",
    ]);
    const rank = ["train", "lora.yaml", "--method.rank", "2", "--resume"];
    expectFault(await sandbox.tunesmith(...rank), ["the recipe was changed: method.rank: 4 -> 2"]);
  });

  it("without a run begins one where it is to be resumed, and says so", async () => {
    const recipe = await writeRecipe("fresh", "{ name: ia3 }");
    const { code, err } = await sandbox.tunesmith("train", recipe, "--resume");
    expect(code, err).toBe(0);
    expect(err).toMatch(/^! there is nothing to resume: runs\/fresh has no checkpoint, .*$/m);
    const again = await sandbox.tunesmith("train", recipe, "--resume");
    expect(again.err).not.toContain("nothing to resume");
    expect(again.err).toContain("going on after step 4");
  });
});

describe("an adapter", () => {
  it.each<[string, string, string, string[]]>([
    [
      "of a deeper base",
      ADAPTER,
      "shallow",
      [
        "layers.1.",
        "every tensor of an adapter has a place in the base",
        "and 13 more of that kind",
        "use the adapter with its own base",
      ],
    ],
    ["that is random bytes", "noise", "my-model", [`noise/${WEIGHTS}`, "damaged"]],
    ["that was cut off", "cut", "my-model", [`cut/${WEIGHTS}`, "truncated", "fetch or save"]],
    [
      "of other ranks than its configuration says",
      "other-rank",
      "my-model",
      ["other-rank/adapter_config.json: r: ", "8, and tensors of rank 4: ", "and 27 more"],
    ],
    [
      "whose configuration is no JSON",
      "no-config",
      "my-model",
      ["no-config/adapter_config.json:1"],
    ],
    ["without weights", "no-weights", "my-model", [`an adapter folder holds ${WEIGHTS}`]],
    ["that is no adapter", "my-model", "my-model", ["my-model"]],
  ])("%s is refused", async (_, adapter, model, told) => {
    const args = ["--model", model, "--adapter", adapter, "--max-new-tokens", "2"];
    const result = await sandbox.tunesmith("generate", ...args, "say 1");
    expectFault(result, told);
    // One fault for all tensors alike.
    expect(result.err.match(/^✗/gm)).toHaveLength(1);
  });

  it("may have more rank than its matrices, as PEFT lets it", async () => {
    const five = Array.from({ length: 5 }, () => ADAPTER);
    const merge = ["adapter", "merge", ...five, "--method", "cat", "--out", "tall"];
    expect((await sandbox.tunesmith(...merge)).code).toBe(0);
    const config = JSON.parse(await readFile(at("tall/adapter_config.json"), "utf8"));
    expect(config.r).toBe(20);
    const args = ["--model", "my-model", "--adapter", "tall", "--max-new-tokens", "2"];
    const { code, err } = await sandbox.tunesmith("generate", ...args, "say 1");
    expect(code, err).toBe(0);
  });

  it("for a shallower base lacks tensors, all told together", async () => {
    const recipe = await writeRecipe("less", "{ name: lora, rank: 4 }");
    const trained = await sandbox.tunesmith("train", recipe, "--model", "shallow");
    expect(trained.code, trained.err).toBe(0);
    const args = ["--model", "my-model", "--adapter", "runs/less/adapter"];
    expectFault(await sandbox.tunesmith("generate", ...args, "say 1"), [
      "no such tensor, and 13 more of that kind",
      "shallow",
    ]);
  });

  it("that names another base is told of, and runs: a renamed copy is none", async () => {
    await cp(at("my-model"), at("renamed"), { recursive: true });
    const args = ["--model", "renamed", "--adapter", ADAPTER, "--max-new-tokens", "2"];
    const { code, err } = await sandbox.tunesmith("generate", ...args, "say 1");
    expect(code, err).toBe(0);
    expect(err).toMatch(
      /^! \S+adapter was trained on \S+my-model and is put on \S*renamed: .*use/m,
    );
  });
});
