// Several adapters on one model compute what each does alone, cost what one costs, and leave the
// weights as they found them.

import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { mixedRows, type PlainLora, readPlainLora } from "../../adapters/index.ts";
import { randomModule } from "../../adapters/testing/cases.ts";
import { generate } from "../../generate/index.ts";
import { readAdapter, writeAdapter } from "../../hub/index.ts";
import {
  bindMethod,
  linearModules,
  type ModelDescription,
  modelDescription,
} from "../../methods/index.ts";
import { architectureFor } from "../../models/index.ts";
import { arrayDifference } from "../../runtime/testing/array-difference.ts";
import { input, sizeOf, topologicalOrder } from "../../tensor/index.ts";
import type { EngineModel } from "../load.ts";
import { openTiny, randomRows } from "../testing/tiny-models.ts";
import { createTracer } from "../trace.ts";
import type { AdapterSelection } from "./adapter-set.ts";

const CASES = join(import.meta.dirname, "../../../tests/parity/cases");
const stored = (name: string) => join(CASES, "lora", name, "adapter");

/** Adapters that PEFT saved for the tiny model: other modules, ranks, scalings each. */
const FOLDERS = {
  qv: stored("q-v"),
  all: stored("all-linear"),
  patterns: stored("patterns"),
  rslora: stored("rslora"),
};
const inputIds = randomRows([7, 7, 7, 7], 5);
const labels = inputIds;

let scratch: string;
let model: EngineModel;
beforeAll(async () => {
  scratch = await mkdtemp(join(tmpdir(), "tunesmith-adapters-"));
  model = await openTiny("base");
  for (const [name, folder] of Object.entries(FOLDERS)) await model.adapters.load(name, folder);
});
afterAll(async () => {
  await model.dispose();
  await rm(scratch, { recursive: true });
});

const logitsOf = async (selection: AdapterSelection, rows = inputIds) =>
  (await (await model.adapters.select(selection, rows.length)).forward({ inputIds: rows })).logits
    .data;

/** The same, from a model that was opened with the adapter alone. */
async function logitsAlone(adapter: string | undefined, rows = inputIds): Promise<Float32Array> {
  const alone = await openTiny("base", { adapter });
  const { logits } = await alone.forward({ inputIds: rows });
  await alone.dispose();
  return logits.data;
}

describe("adapters by name", () => {
  it("are not chosen row by row where one changes the output matrix", async () => {
    await model.adapters.load("head", stored("target-head"));
    await expect(model.adapters.select(["head", "qv"], 2)).rejects.toThrow(/"head" adapts lm_head/);
    model.adapters.unload("head");
  });

  it.each(Object.entries(FOLDERS))("%s computes what it does alone", async (name, folder) => {
    expect(await logitsOf(name)).toEqual(await logitsAlone(folder));
  });

  it.each(["prompt", "prefix-projection", "p-tuning-mlp"])(
    "may put something in front of texts: %s",
    async (name) => {
      const folder = join(CASES, "prompts", name, "adapter");
      await model.adapters.load(name, folder);
      const alone = await logitsAlone(folder);
      expect(arrayDifference(await logitsOf(name), alone)).toBeLessThan(1e-5);
      // What an encoder made is all that is kept of it.
      const { parameterSet } = await model.adapters.select(name, 1);
      const kept = parameterSet.saved.map((parameter) => parameter.name);
      expect(kept.every((key) => key.startsWith("prompt_embeddings"))).toBe(true);
      model.adapters.unload(name);
    },
  );

  it("leave the base as it is", async () => {
    expect(await logitsOf(null)).toEqual(await logitsAlone(undefined));
  });

  it("of equal shapes share every kernel", async () => {
    const adapter = await readAdapter(FOLDERS.qv);
    const doubled = [...adapter.tensors].map(
      ([key, { shape, data }]) => [key, { shape, data: data.map((x) => 2 * x) }] as const,
    );
    await writeAdapter(join(scratch, "doubled"), { ...adapter, tensors: new Map(doubled) });
    await model.adapters.load("doubled", join(scratch, "doubled"));
    const before = await logitsOf("qv");
    const { compiled } = model.runtime;
    expect(await logitsOf("doubled")).not.toEqual(before);
    expect(await logitsOf("qv")).toEqual(before);
    expect(model.runtime.compiled).toBe(compiled);
    model.adapters.unload("doubled");
    await expect(model.adapters.select("doubled", 1)).rejects.toThrow(/"doubled", where there are/);
  });

  it.each(["pissa-as-trained", "olora-as-trained"])(
    "%s leaves the base to others",
    async (name) => {
      await model.adapters.load(name, stored(name));
      expect(arrayDifference(await logitsOf(name), await logitsAlone(stored(name)))).toBeLessThan(
        1e-5,
      );
      expect(await logitsOf(null)).toEqual(await logitsAlone(undefined));
      model.adapters.unload(name);
    },
  );

  it("may be of any method", async () => {
    const folder = join(CASES, "tuners/ia3/adapter");
    await model.adapters.load("ia3", folder);
    expect(await logitsOf("ia3")).toEqual(await logitsAlone(folder));
    await expect(model.adapters.select(["ia3", "qv"], 2)).rejects.toThrow(
      /works on LoRA adapters[\s\S]*convert/,
    );
    model.adapters.unload("ia3");
  });
});

describe("a sum of adapters", () => {
  it("is the sum of what they add", async () => {
    const factors = { qv: 0.5, all: -0.25 };
    const chosen = await logitsOf(factors);
    await model.adapters.merge(factors);
    expect(arrayDifference(await logitsOf(null), chosen)).toBeLessThan(1e-5);
    model.adapters.unmerge();
    expect(arrayDifference(await logitsOf({ qv: 1 }), await logitsOf("qv"))).toBeLessThan(1e-5);
    expect(arrayDifference(await logitsOf({ qv: 0, all: 0 }), await logitsOf(null))).toBeLessThan(
      1e-6,
    );
  });
});

describe("a batch of adapters", () => {
  const names = ["qv", null, "all", "patterns"];

  it("computes for each row what its adapter does", async () => {
    const together = await logitsOf(names);
    const size = together.length / names.length;
    for (const [row, name] of names.entries()) {
      const alone = await logitsOf(name, [inputIds[row]!]);
      const own = together.subarray(row * size, (row + 1) * size);
      expect(arrayDifference(own, alone), String(name)).toBeLessThan(1e-5);
    }
  });

  it("has the loss of its rows", async () => {
    const view = await model.adapters.select(names, names.length);
    const { lossSum } = await view.evaluateLoss({ inputIds, labels });
    let sum = 0;
    for (const [row, name] of names.entries()) {
      const one = { inputIds: [inputIds[row]!], labels: [inputIds[row]!] };
      sum += (await (await model.adapters.select(name, 1)).evaluateLoss(one)).lossSum;
    }
    expect(lossSum / sum).toBeCloseTo(1, 5);
  });

  it("continues each prompt with its adapter", async () => {
    const prompts = randomRows([3, 9, 5, 6], 8);
    const options = { maxNewTokens: 6, ignoreEos: true };
    const together = await generate(model, { inputIds: prompts, adapters: names, ...options });
    for (const [row, name] of names.entries()) {
      const view = await model.adapters.select(name, 1);
      const alone = await generate(view, { inputIds: [prompts[row]!], ...options });
      expect(together.tokenIds[row], String(name)).toEqual(alone.tokenIds[0]);
    }
  });

  it("shares its kernels with other batches of these shapes", async () => {
    await logitsOf(["qv", "all", null, null]);
    const { compiled } = model.runtime;
    await logitsOf([null, null, "all", "qv"]);
    expect(model.runtime.compiled).toBe(compiled);
  });
});

describe("merging in memory", () => {
  it.each(["base", "f16-weights"] as const)("is undone bit for bit: %s", async (tiny) => {
    const own = await openTiny(tiny);
    const folder = join(scratch, tiny);
    const trained = await openTiny(tiny, {
      method: { name: "lora", targets: "all-linear", init: false },
    });
    await trained.saveAdapter(folder);
    await trained.dispose();
    await own.adapters.load("a", folder);
    const copies = () => own.architecture.weights.map(({ name }) => own.weights.copy(name));
    const before = copies();
    const held = own.weights.bytes;
    const rows = [[1, 5, 9, 13, 2]];
    const beside = await (await own.adapters.select("a", 1)).forward({ inputIds: rows });

    await own.adapters.merge("a");
    expect(own.adapters.merged).toBe("a");
    expect(copies()).not.toEqual(before);
    const inside = await own.forward({ inputIds: rows });
    expect(arrayDifference(inside.logits.data, beside.logits.data)).toBeLessThan(1e-5);
    await expect(own.adapters.select("a", 1)).rejects.toThrow(/"a" is merged/);
    expect(() => own.adapters.unload("a")).toThrow(/unmerge/);

    own.adapters.unmerge();
    expect(own.adapters.merged).toBe(null);
    expect(copies()).toEqual(before);
    expect(own.weights.bytes).toBe(held);
    await own.dispose();
  });

  it("is refused for what is no change of weights", async () => {
    const folder = join(CASES, "prompts/prefix/adapter");
    await model.adapters.load("prefix", folder);
    expect(await logitsOf("prefix")).toEqual(await logitsAlone(folder));
    await expect(model.adapters.merge("prefix")).rejects.toThrow(/can be made part of the weights/);
    await expect(model.adapters.toLora("prefix", { rank: 2 })).rejects.toThrow(
      /linear modules alone/,
    );
    model.adapters.unload("prefix");
  });

  it("is refused where the head would no longer be the embedding", async () => {
    const folder = stored("save-head");
    await model.adapters.load("head", folder);
    await expect(model.adapters.merge("head")).rejects.toThrow(/stays the embedding/);
    model.adapters.unload("head");
  });
});

describe("refused", () => {
  it.each([
    ["quv", 4, /nearest is "qv"/],
    [["qv", "nobody"], 2, /"nobody"/],
    [["qv", "all"], 4, /2 entries for 4 rows/],
    [{ qv: 1, nobody: 2 }, 4, /"nobody"/],
  ] satisfies [AdapterSelection, number, RegExp][])(
    "%j for %i rows",
    async (selection, rows, text) => {
      await expect(model.adapters.select(selection, rows)).rejects.toThrow(text);
    },
  );

  it("a name that is taken, and a model that is trained", async () => {
    await expect(model.adapters.load("qv", FOLDERS.all)).rejects.toThrow(/which is .*q-v/);
    const trained = await openTiny("base", { method: { name: "lora" } });
    await expect(trained.adapters.load("qv", FOLDERS.qv)).rejects.toThrow(/a model with lora/);
    await trained.dispose();
  });

  it("an adapter of another base, with that base's name", async () => {
    const other = await openTiny("head-dim");
    await expect(other.adapters.load("qv", FOLDERS.qv)).rejects.toThrow(
      /asks for a tensor of shape[\s\S]*use the adapter with its own base/,
    );
    await other.dispose();
    const adapter = await readAdapter(FOLDERS.qv);
    const folder = join(scratch, "elsewhere");
    const config = {
      ...adapter.config,
      target_modules: ["query"],
      base_model_name_or_path: "owner/gpt",
    };
    await writeAdapter(folder, { ...adapter, config });
    await expect(model.adapters.load("elsewhere", folder)).rejects.toThrow(
      /elsewhere\/adapter_config.json \(method.targets\)[\s\S]*its own base \(owner\/gpt\)/,
    );
  });
});

describe("a batch of eight adapters", () => {
  // SmolLM2-135M, whose layers are narrow: adapters weigh more beside them than beside any larger model.
  const architecture = architectureFor(
    {
      model_type: "llama",
      hidden_size: 576,
      intermediate_size: 1536,
      num_hidden_layers: 1,
      num_attention_heads: 9,
      num_key_value_heads: 3,
      vocab_size: 49152,
      max_position_embeddings: 8192,
      rms_norm_eps: 1e-5,
      tie_word_embeddings: true,
    },
    "config.json",
  );
  const description: ModelDescription = modelDescription(architecture, "llama", "base");
  const lora = (seed: number): PlainLora => ({
    source: `adapter ${seed}`,
    base: null,
    task: "CAUSAL_LM",
    targets: undefined,
    modules: new Map(
      linearModules(description).map(({ path, inputSize, outputSize }) => [
        path,
        randomModule(seed, { rank: 8, inputSize, outputSize }),
      ]),
    ),
  });
  const one = bindMethod({ name: "lora", rank: 8, targets: "all-linear" }, description);
  const eight = mixedRows(Array.from({ length: 8 }, (_, seed) => lora(seed)));

  /** What a block takes: multiplications and additions of its products, and bytes of its tensors. */
  function cost(method: typeof one, sequence: number) {
    const shape = { batch: 8, sequence, maskBatch: 1, training: false };
    const tracer = createTracer(
      { architecture, method, weights: { integers: () => undefined, blocks: () => undefined } },
      shape,
    );
    const x = input("x", [8 * sequence, 576]);
    const y = architecture.feedForward!(
      0,
      architecture.attention(0, x, tracer.scope),
      tracer.scope,
    );
    let flops = 0;
    let bytes = 0;
    for (const tensor of topologicalOrder([y], new Set())) {
      // A tensor of another shape is the same memory.
      if (tensor.operator !== "reshape") bytes += 4 * sizeOf(tensor.shape);
      if (tensor.operator !== "matmul") continue;
      const inner = tensor.inputs[0]!.shape.at(tensor.attributes.transposeA ? -2 : -1)!;
      flops += 2 * sizeOf(tensor.shape) * inner;
    }
    return { flops, bytes };
  }

  it.each([1, 64, 512])("costs at most 1.3 times one, %i tokens a row", (sequence) => {
    const [single, mixed] = [cost(one, sequence), cost(eight, sequence)];
    expect(mixed.flops / single.flops).toBeLessThanOrEqual(1.0001);
    expect(mixed.bytes / single.bytes).toBeLessThanOrEqual(1.3);
  });
});

it("reads what PEFT reads: other keys, fewer keys, names of adapters in tensors", async () => {
  const adapter = await readAdapter(FOLDERS.qv);
  const { r, lora_alpha, target_modules, peft_type } = adapter.config;
  const config = { r, lora_alpha, target_modules, peft_type, merge_weights: false, of_2027: [1] };
  const tensors = [...adapter.tensors].map(
    ([key, tensor]) => [key.replace(/\.weight$/, ".default.weight"), tensor] as const,
  );
  await writeAdapter(join(scratch, "old"), { config, tensors: new Map(tensors) });
  await model.adapters.load("old", join(scratch, "old"));
  expect(await logitsOf("old")).toEqual(await logitsOf("qv"));
  const old = readPlainLora(await readAdapter(join(scratch, "old")), "old");
  expect(old.modules.size).toBe(4);
  model.adapters.unload("old");
});
