// Loading recipes: every fault at once with its place, defaults with their origins, flags on top.

import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { TunesmithError } from "../errors.ts";
import { loadRecipe } from "./load.ts";
import { splitOverrides } from "./overrides.ts";

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "tunesmith-recipe-"));
  await writeFile(join(folder, "train.jsonl"), "");
});
afterAll(() => rm(folder, { recursive: true }));

async function write(name: string, text: string): Promise<string> {
  await writeFile(join(folder, name), text);
  return join(folder, name);
}

async function faultsOf(text: string, flags: string[] = []): Promise<string[]> {
  const file = await write("recipe.yaml", text);
  const { overrides } = splitOverrides(flags);
  const error = await loadRecipe(file, { overrides }).then(
    () => undefined,
    (error: TunesmithError) => error,
  );
  return (error?.faults ?? []).map(
    ({ where, rule, seen, fix }) =>
      `${where.replace(`${folder}/`, "")} | ${rule} | ${seen.replace(folder, "")} | ${fix.replace(folder, "")}`,
  );
}

const GOOD = `model: owner/name
data: { train: train.jsonl, eval: 0.1 }
method: { name: lora, rank: 4 }
`;

describe("a recipe with faults", () => {
  it("shows all of them in the order of the file, each with line, column and the nearest right thing", async () => {
    const faults = await faultsOf(`model: ./SmolLM2
data: { train: trian.jsonl, evl: 0.1 }
method:
  name: lora
  rank: "8"
  targetz: [q_proj]
  init: gausian
train:
  epochs: 0
  schedule: cosin
  betas: [0.9]
learningRate: 1
`);
    expect(faults).toEqual([
      "recipe.yaml:1:8 | a model's folder or file must exist | nothing at /SmolLM2 | correct the path; it starts at ",
      "recipe.yaml:2:16 | a data file must exist | nothing at /trian.jsonl | did you mean train.jsonl?",
      'recipe.yaml:2:29 | data has no such key | "evl"; nearest is "eval" | write "eval"',
      'recipe.yaml:5:9 | method.rank must be an integer | "8" (string) | write 8 without quotes',
      'recipe.yaml:6:3 | method has no such key | "targetz"; nearest is "targets" | write "targets"',
      'recipe.yaml:7:9 | method.init must be true or false or "gaussian" or "orthogonal" or "olora" or "pissa" or "mica" or "loftq" or "eva" or "pissa_niter_N" | "gausian" (string) | write gaussian',
      "recipe.yaml:9:11 | train.epochs must be more than 0 | 0 (number) | How often the training data is gone through; its default is 3",
      'recipe.yaml:10:13 | train.schedule must be "constant" or "linear" or "cosine" | "cosin" (string) | write cosine',
      "recipe.yaml:11:10 | train.betas must be at least 2 items long | [0.9] (list) | Adam's decay rates of the two moments; its default is [0.9,0.999]",
      'recipe.yaml:12:1 | a recipe has no such key | "learningRate" | move it to train.learningRate',
    ]);
  });

  it("knows the section that a mistyped one is meant to be", async () => {
    const faults = await faultsOf(
      "model: ./SmolLM2\ndata: { train: train.jsonl }\nmethd: { name: lora }\n",
    );
    expect(faults.at(-1)).toBe(
      'recipe.yaml:3:1 | a recipe has no such key | "methd"; nearest is "method" | write "method"',
    );
  });

  it("says what is missing", async () => {
    expect(
      (await faultsOf("train: { epochs: 1 }\n")).map((fault) => fault.split(" | ")[1]),
    ).toEqual(["a recipe needs model", "a recipe needs data", "a recipe needs method"]);
  });

  it("says where the text is no YAML", async () => {
    const [first, second] = await faultsOf("model: x\nmodel: y\ndata: [1,\n");
    expect(first).toContain("recipe.yaml:2:1 | a recipe is YAML or JSON: map keys must be unique");
    expect(second).toContain("recipe.yaml:4:1");
  });

  it.each(["", "just a word\n", "- a\n- list\n", "null\n"])(
    "is told when it holds %j",
    async (text) => {
      expect(await faultsOf(text)).toHaveLength(1);
    },
  );

  it("tells keys of another method apart", async () => {
    expect(await faultsOf(GOOD.replace("name: lora", "name: full"))).toEqual([
      'recipe.yaml:3:23 | method has no such key | "rank" | remove it, or choose method.name: lora, which has it',
    ]);
    const [fault, ...others] = await faultsOf(GOOD.replace("name: lora", "name: lroa"));
    expect(others).toEqual([]);
    expect(fault).toMatch(
      /^recipe\.yaml:3:17 \| method\.name must be "lora",? .*"full".* \| "lroa" \(string\) \| write lora$/,
    );
  });

  it("names a flag when the flag is at fault", async () => {
    expect(await faultsOf(GOOD, ["--train.epochs", "many"])).toEqual([
      '--train.epochs | train.epochs must be a number | "many" (string) | How often the training data is gone through; its default is 3',
    ]);
  });

  it("is looked for beside a misspelt name", async () => {
    await write("recipe.yaml", GOOD);
    const error = await loadRecipe(join(folder, "recpie.yaml")).catch((error) => error);
    expect(error.faults[0].fix).toBe(`did you mean ${join(folder, "recipe.yaml")}?`);
  });
});

describe("a good recipe", () => {
  it("gets its defaults, each value with its origin", async () => {
    const { recipe, origins, name } = await loadRecipe(await write("mine.yaml", GOOD), {
      overrides: splitOverrides(["--train.epochs", "2"]).overrides,
    });
    expect(name).toBe("mine");
    expect(recipe.model).toEqual({ id: "owner/name", dtype: "auto", arithmetic: "float32" });
    expect(recipe.data.train).toBe(join(folder, "train.jsonl"));
    expect(recipe.train.epochs).toBe(2);
    expect(origins.get("train.epochs")).toEqual({ kind: "flag", detail: "--train.epochs" });
    expect(origins.get("method.rank")).toEqual({ kind: "recipe", detail: "mine.yaml:3:29" });
    expect(origins.get("train.seed")).toEqual({ kind: "default", detail: "" });
    expect(origins.has("train.learningRate")).toBe(false);
  });

  it("may be JSON, with tabs", async () => {
    const text = '{\n\t"model": "a/b",\n\t"data": "train.jsonl",\n\t"method": "full"\n}';
    const { recipe } = await loadRecipe(await write("mine.json", text));
    expect(recipe.method).toEqual({ name: "full" });
  });

  it("may be an object", async () => {
    const { recipe } = await loadRecipe(
      { model: { id: "a/b" }, data: { train: "train.jsonl" }, method: { name: "lora" } },
      { folder },
    );
    expect(recipe.data.train).toBe(join(folder, "train.jsonl"));
  });
});

it("takes owner/name/file.gguf for the hub's, and for a path where its folder is here", async () => {
  const text = (model: string) => `model: ${model}\ndata: train.jsonl\nmethod: lora\n`;
  const { recipe } = await loadRecipe(await write("recipe.yaml", text("owner/name/weights.gguf")));
  expect(recipe.model.id).toBe("owner/name/weights.gguf");
  await mkdir(join(folder, "models"), { recursive: true });
  const [fault] = await faultsOf(text("models/name/weights.gguf"));
  expect(fault).toMatch(/folder or file must exist/);
});
