// Adapter folders described, merged and converted, through the functions that are public, down to the
// files that others read.

import { existsSync } from "node:fs";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { productOf } from "../adapters/factors.ts";
import { readPlainLora } from "../adapters/index.ts";
import { openTiny, tinyModelFolder } from "../engine/testing/tiny-models.ts";
import { openGguf } from "../hub/gguf/gguf.ts";
import { interleaved } from "../hub/gguf/gguf-row-order.ts";
import { readAdapter } from "../hub/index.ts";
import type { MethodOptions } from "../methods/index.ts";
import { arrayDifference } from "../runtime/testing/array-difference.ts";
import {
  type ConvertAdapterOptions,
  convertAdapter,
  describeAdapterFolder,
  mergeAdapters,
} from "./adapters.ts";

const CASES = join(import.meta.dirname, "../../tests/parity/cases");
const stored = (name: string) => join(CASES, name, "adapter");
const QV = stored("lora/q-v");
const ALL = stored("lora/all-linear");
const model = tinyModelFolder("base");
const inputIds = [[5, 9, 14, 3, 8]];

let scratch: string;
beforeAll(async () => {
  scratch = await mkdtemp(join(tmpdir(), "tunesmith-adapters-"));
});
afterAll(() => rm(scratch, { recursive: true }));

let folders = 0;
const fresh = () => join(scratch, String(++folders));

async function logitsOf(adapter: string): Promise<Float32Array> {
  const opened = await openTiny("base", { adapter });
  const { logits } = await opened.forward({ inputIds });
  await opened.dispose();
  return logits.data;
}

/** An adapter of random, well-sized numbers. */
async function savedAdapter(method: MethodOptions): Promise<string> {
  const opened = await openTiny("base", { method });
  const folder = fresh();
  for (const { data } of opened.parameters)
    data.forEach((value, i) => {
      data[i] = value * (1 + 0.3 * Math.sin(i + 1)) + 0.02 * Math.cos(3 * i);
    });
  await opened.saveAdapter(folder);
  await opened.dispose();
  return folder;
}

describe("describing", () => {
  it("tells ranks, scalings and norms of a LoRA's modules", async () => {
    const { method, peftType, parts, parameters, tensors } = await describeAdapterFolder(QV);
    expect(method).toMatch(/^LoRA, rank 8, alpha 16, on/);
    expect(peftType).toBe("LORA");
    expect(tensors).toBe(8);
    expect(parts.map(({ name, count, ranks, scalings }) => [name, count, ranks, scalings])).toEqual(
      [
        ["q_proj", 2, [8], [2]],
        ["v_proj", 2, [8], [2]],
      ],
    );
    expect(parts.reduce((sum, part) => sum + part.parameters, 0)).toBe(parameters);
    const { modules } = readPlainLora(await readAdapter(QV), QV);
    const norms = [...modules]
      .filter(([path]) => path.endsWith("q_proj"))
      .map(([, module]) => Math.hypot(...productOf(module)));
    expect(parts[0]!.largestNorm).toBeCloseTo(Math.max(...norms), 3);
    expect(parts[0]!.meanNorm).toBeCloseTo((norms[0]! + norms[1]!) / 2, 3);
  });

  it("tells what other methods and whole modules hold", async () => {
    const ia3 = await describeAdapterFolder(stored("tuners/ia3"));
    expect(ia3.peftType).toBe("IA3");
    expect(ia3.parts.map(({ name }) => name)).toContain("k_proj.ia3_l");
    const head = await describeAdapterFolder(stored("lora/save-head"));
    expect(head.parts.map(({ name }) => name)).toContain("lm_head");
    const libraries = ["tuners/ia3", "moe/mixlora", "moe/loramoe", "adapterhub/seq-bn"].map(
      async (name) => (await describeAdapterFolder(stored(name))).library,
    );
    expect(await Promise.all(libraries)).toEqual(["PEFT", "MixLoRA", "LoRAMoE", "AdapterHub"]);
    const union = await describeAdapterFolder(stored("adapterhub/unipelt"));
    const biases = union.parts.map(({ name }) => name).filter((name) => name.endsWith("bias"));
    expect(biases).toContain("task.adapter_down.bias");
    expect(biases).not.toContain("gate.bias");
    const pissa = await describeAdapterFolder(stored("lora/pissa-as-trained"));
    expect(pissa.parts[0]!.ranks).toEqual([]);
  });

  it("tells which ranks an AdaLoRA kept, and what its triplets add", async () => {
    const folder = stored("adalora/pruned");
    const { ranks, parts, parameters } = await describeAdapterFolder(folder);
    expect(ranks).toEqual({ kept: 6, initial: 18, target: 6, smallest: 0, mean: 1, largest: 3 });
    expect(parts.map(({ name, count, ranks }) => [name, count, ranks])).toEqual([
      ["up_proj", 2, [0]],
      ["o_proj", 2, [1, 2]],
      ["q_proj", 2, [0, 3]],
    ]);
    expect(parts.reduce((sum, part) => sum + part.parameters, 0)).toBe(parameters);
    const { tensors, config } = await readAdapter(folder);
    const [a, b, e] = ["A", "B", "E"].map(
      (matrix) =>
        [...tensors].find(
          ([key, { data }]) => key.endsWith(`q_proj.lora_${matrix}`) && data.length > 0,
        )![1],
    );
    let square = 0;
    for (let out = 0; out < b!.shape[0]!; out++)
      for (let i = 0; i < a!.shape[1]!; i++) {
        let added = 0;
        for (let r = 0; r < 3; r++)
          added += b!.data[out * 3 + r]! * e!.data[r]! * a!.data[r * a!.shape[1]! + i]!;
        square += added ** 2;
      }
    const scaling = (config.lora_alpha as number) / (config.init_r as number);
    expect(parts[2]!.largestNorm).toBeCloseTo(scaling * Math.sqrt(square), 5);
    expect((await describeAdapterFolder(QV)).ranks).toBeUndefined();
  });

  it("has a row for each expert of X-LoRA", async () => {
    const folder = stored("xlora/trained");
    const { parts, parameters } = await describeAdapterFolder(folder);
    expect(parts.map(({ name, count, ranks, scalings }) => [name, count, ranks, scalings])).toEqual(
      [
        ["expert 0", 4, [2], [2]],
        ["expert 1", 2, [1], [3]],
        ["internal_xlora_classifier.layers.bias", 3, [], []],
        ["internal_xlora_classifier.layers", 3, [], []],
      ],
    );
    expect(parts.reduce((sum, part) => sum + part.parameters, 0)).toBe(parameters);
    const alone = await describeAdapterFolder(`${folder}/expert-1`);
    expect(parts[1]!.largestNorm).toBe(Math.max(...alone.parts.map((part) => part.largestNorm)));
  });
});

describe("merging", () => {
  it("writes an adapter that adds what both add", async () => {
    const out = fresh();
    await mergeAdapters({ adapters: [QV, ALL], weights: [0.5, 2], method: "cat", out });
    const together = await openTiny("base");
    await together.adapters.load("a", QV);
    await together.adapters.load("b", ALL);
    const sum = await together.adapters.select({ a: 0.5, b: 2 }, 1);
    const expected = (await sum.forward({ inputIds })).logits.data;
    await together.dispose();
    expect(arrayDifference(await logitsOf(out), expected)).toBeLessThan(1e-5);
    await expect(mergeAdapters({ adapters: [QV, ALL], out })).rejects.toThrow(
      "a merged adapter does not overwrite files",
    );
  });

  it.each([
    ["whole modules", stored("lora/save-head"), /lm_head[\s\S]*trained as a whole/],
    ["biases", stored("lora/bias-all"), /base_layer.bias|\.bias/],
    ["another method", stored("tuners/ia3"), /convert it first/],
    ["a part of the base", stored("lora/pissa-as-trained"), /hold a part of the base/],
  ])("refuses %s", async (_name, folder, message) => {
    await expect(mergeAdapters({ adapters: [QV, folder], out: fresh() })).rejects.toThrow(message);
  });
});

describe("converting to LoRA", () => {
  const toLora = async (options: Partial<ConvertAdapterOptions> & { adapter: string }) => {
    const out = fresh();
    await convertAdapter({ to: "lora", out, model, ...options });
    return out;
  };

  it.each<[string, MethodOptions, Partial<ConvertAdapterOptions>]>([
    ["LoRA", { name: "lora", rank: 4, init: false, targets: ["v_proj", "down_proj"] }, { rank: 4 }],
    ["LoRA on the head", { name: "lora", rank: 4, init: false, targets: ["lm_head"] }, { rank: 4 }],
    ["(IA)³", { name: "ia3" }, { energy: 1 }],
    ["DoRA", { name: "dora", rank: 2 }, { energy: 1 }],
    ["LoHa", { name: "loha", rank: 2 }, { energy: 1 }],
    ["LoKr", { name: "lokr", rank: 2 }, { energy: 1 }],
    ["VeRA", { name: "vera", rank: 4 }, { energy: 1 }],
    ["OFT", { name: "oft" }, { energy: 1 }],
    ["AdaLoRA", { name: "adalora" }, { energy: 1 }],
  ])("keeps what %s does at its full rank", async (_name, method, choice) => {
    const folder = await savedAdapter(method);
    const out = await toLora({ adapter: folder, ...choice });
    expect(arrayDifference(await logitsOf(out), await logitsOf(folder))).toBeLessThan(1e-4);
  });

  it("keeps what whole modules are", async () => {
    const folder = await savedAdapter({ name: "ia3", modulesToSave: ["embed_tokens"] });
    const out = await toLora({ adapter: folder, energy: 1 });
    expect(arrayDifference(await logitsOf(out), await logitsOf(folder))).toBeLessThan(1e-4);
  });

  it("is exact for an adapter that holds a part of its base", async () => {
    const folder = stored("lora/pissa-as-trained");
    const out = await toLora({ adapter: folder });
    expect(arrayDifference(await logitsOf(out), await logitsOf(folder))).toBeLessThan(1e-5);
  });

  it("takes as many ranks as the energy asks for", async () => {
    const ranks = async (energy: number) => {
      const out = await toLora({ adapter: QV, energy });
      const { modules } = readPlainLora(await readAdapter(out), out);
      return [...modules.values()].reduce((sum, { rank }) => sum + rank, 0);
    };
    const [little, much, all] = [await ranks(0.3), await ranks(0.9), await ranks(1)];
    expect(little).toBeLessThan(much);
    expect(much).toBeLessThan(all);
    expect(all).toBe(4 * 8);
  });

  it.each<[string, Partial<ConvertAdapterOptions>, RegExp]>([
    ["no rank", { adapter: stored("tuners/ia3") }, /give --rank 16/],
    ["a rank of no weight", { adapter: QV, rank: 99 }, /shorter side is/],
    ["two choices", { rank: 2, energy: 0.5 }, /leave one of them out/],
    ["an energy above 1", { energy: 1.5 }, /at most 1/],
    [
      "norms",
      { adapter: stored("tuners/ln-tuning"), rank: 2 },
      /linear modules alone[\s\S]*tunesmith merge/,
    ],
    [
      "virtual tokens",
      { adapter: stored("prompts/prompt"), rank: 2 },
      /no weight can stand for[\s\S]*beside the model/,
    ],
    [
      "biases",
      { adapter: stored("lora/bias-all"), model: tinyModelFolder("biases"), rank: 2 },
      /a trained bias/,
    ],
    [
      "a model that is not here",
      { adapter: stored("tuners/ia3"), model: undefined, rank: 2 },
      /--model/,
    ],
  ])("refuses %s", async (_name, options, message) => {
    await expect(toLora({ adapter: QV, ...options })).rejects.toThrow(message);
  });
});

describe("converting to GGUF", () => {
  it("has llama.cpp's names, order of rows and scaling", async () => {
    const out = join(fresh(), "adapter.gguf");
    const folder = stored("lora/patterns");
    await convertAdapter({ adapter: folder, to: "gguf", model, out });
    const file = await openGguf(out);
    expect(file.metadata.get("general.type")).toBe("adapter");
    expect(file.metadata.get("general.architecture")).toBe("llama");
    expect(file.metadata.get("adapter.type")).toBe("lora");
    const alpha = Number(file.metadata.get("adapter.lora.alpha"));
    const { modules } = readPlainLora(await readAdapter(folder), folder);
    expect(file.tensors.size).toBe(2 * modules.size);
    const q = modules.get("model.layers.0.self_attn.q_proj")!;
    const read = async (name: string) => {
      const { byteLength } = file.tensors.get(name)!;
      const bytes = new Uint8Array(byteLength);
      await file.readInto(name, bytes);
      return new Float32Array(bytes.buffer);
    };
    const [a, b] = [
      await read("blk.0.attn_q.weight.lora_a"),
      await read("blk.0.attn_q.weight.lora_b"),
    ];
    expect(a).toEqual(q.a);
    // Rows as in a GGUF of the model itself, times alpha / rank.
    const order = interleaved(4, q.outputSize / 4);
    const factor = alpha / q.rank / q.scaling;
    for (let row = 0; row < q.outputSize; row++) {
      const from = order.source(row) * q.rank;
      for (let r = 0; r < q.rank; r++)
        expect(b[row * q.rank + r]! * factor).toBeCloseTo(q.b[from + r]!, 5);
    }
    await file.close();
  });

  it("refuses to overwrite, whole modules, and another base", async () => {
    const out = fresh();
    await writeFile(out, "");
    const gguf = (options: Partial<ConvertAdapterOptions>) =>
      convertAdapter({ adapter: QV, to: "gguf", model, out: fresh(), ...options });
    await expect(gguf({ out })).rejects.toThrow("does not overwrite a file");
    await expect(gguf({ adapter: stored("lora/save-head") })).rejects.toThrow("trained as a whole");
    await expect(gguf({ rank: 2 })).rejects.toThrow("convert to lora first");
    expect(existsSync(join(scratch, String(folders)))).toBe(false);
  });
});
