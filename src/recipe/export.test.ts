// Models written as GGUF and read again: the same logits, whatever the architecture.

import { existsSync, readdirSync } from "node:fs";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { openModel } from "../engine/load.ts";
import { randomRows, type TinyModel, tinyModelFolder } from "../engine/testing/tiny-models.ts";
import { openGguf } from "../hub/gguf/gguf.ts";
import { GGUF_MODEL_TYPES } from "../hub/index.ts";
import { expectFault } from "../hub/testing/files.ts";
import { arrayDifference } from "../runtime/testing/array-difference.ts";
import { exportModel } from "./export.ts";
import { merge } from "./merge.ts";
import { IN_GGUF, type InGguf, tinyInGguf } from "./testing/tiny-in-gguf.ts";
import { writeTinyModel } from "./testing/tiny-model.ts";

const ADAPTER = join(import.meta.dirname, "../../tests/parity/cases/lora/all-linear/adapter");
const inputIds = randomRows([5]);
const QWEN_WINDOW = {
  use_sliding_window: true,
  sliding_window: 7,
  max_window_layers: 1,
  layer_types: null,
};

let scratch: string;
beforeAll(async () => {
  scratch = await mkdtemp(join(tmpdir(), "tunesmith-export-"));
});
afterAll(() => rm(scratch, { recursive: true }));

let count = 0;
const fresh = (ending = "") => join(scratch, `${++count}${ending}`);

async function tiny(name: TinyModel, config: object = {}): Promise<string> {
  const folder = fresh();
  await writeTinyModel(folder, tinyModelFolder(name));
  const path = join(folder, "config.json");
  const own = JSON.parse(await readFile(path, "utf8"));
  await writeFile(path, JSON.stringify({ ...own, ...config }));
  return folder;
}

async function logitsOf(model: string, adapter?: string): Promise<Float32Array> {
  const opened = await openModel(model, { threads: 1, ...(adapter && { adapter }) });
  try {
    return (await opened.forward({ inputIds })).logits.data;
  } finally {
    await opened.dispose();
  }
}

describe.each(Object.keys(IN_GGUF) as InGguf[])("%s", (name) => {
  it("gives the same logits in float32", async () => {
    const model = await tinyInGguf(fresh(), name);
    const out = fresh(".gguf");
    await exportModel({ model, dtype: "f32", out });
    const [own, back] = [await logitsOf(model), await logitsOf(out)];
    // What is added to a Gemma's norms, and factors of positions, are rounded to float32.
    if (/gemma|interpolated|yarn/.test(name)) expect(arrayDifference(own, back)).toBeLessThan(1e-5);
    else expect(back).toEqual(own);
  });
});

it("goes through every architecture that there is in GGUF", async () => {
  const types = [];
  for (const name of Object.keys(IN_GGUF) as InGguf[]) {
    const config = await readFile(join(await tinyInGguf(fresh(), name), "config.json"), "utf8");
    types.push(JSON.parse(config).model_type);
  }
  expect([...new Set(types)].sort()).toEqual([...GGUF_MODEL_TYPES].sort());
});

describe("positions", () => {
  it.each([
    ["linear", { rope_type: "linear", factor: 4 }],
    ["yarn", { rope_type: "yarn", factor: 4, original_max_position_embeddings: 16 }],
    [
      "llama3",
      {
        rope_type: "llama3",
        factor: 8,
        low_freq_factor: 1,
        high_freq_factor: 4,
        original_max_position_embeddings: 8192,
      },
    ],
  ])("scaled by %s", async (_, scaling) => {
    const model = await tiny("head-dim", { rope_parameters: { rope_theta: 5e5, ...scaling } });
    const out = fresh(".gguf");
    await exportModel({ model, dtype: "f32", out });
    const [own, back] = [await logitsOf(model), await logitsOf(out)];
    expect(own).not.toEqual(await logitsOf(await tiny("head-dim")));
    expect(arrayDifference(own, back)).toBeLessThan(1e-5);
  });

  it("end where a window does", async () => {
    const out = fresh(".gguf");
    await exportModel({ model: await tiny("mistral-window"), out });
    const file = await openGguf(out);
    await file.close();
    expect(file.metadata.get("llama.context_length")).toBe(5);
  });

  it.each<[string, TinyModel, object, number]>([
    ["of all layers", "qwen3-moe", {}, 5],
    ["of the upper layers", "qwen2", QWEN_WINDOW, 7],
    ["of no layer, as it turns out", "qwen2", { ...QWEN_WINDOW, max_window_layers: 2 }, 64],
    ["that is not used", "qwen2", { ...QWEN_WINDOW, use_sliding_window: false }, 64],
    ["of Phi-3", "phi3", {}, 7],
    ["that llama.cpp has", "gemma2", { query_pre_attn_scalar: 12 }, 64],
  ])("end where a window does: %s", async (_, name, config, positions) => {
    const out = fresh(".gguf");
    await exportModel({ model: await tiny(name, config), out });
    const file = await openGguf(out);
    await file.close();
    const length = [...file.metadata].find(([key]) => key.endsWith(".context_length"))!;
    expect(length[1]).toBe(positions);
  });

  it.each([
    [{ rope_type: "dynamic", factor: 2 }, /linear, llama3, yarn[\s\S]*dynamic/],
    [
      {
        rope_type: "yarn",
        factor: 2,
        original_max_position_embeddings: 16,
        attention_factor: 0.7,
      },
      /yarn with attention_factor/,
    ],
  ])("that llama.cpp computes otherwise are refused", async (scaling, message) => {
    const model = await tiny("base", { rope_parameters: { rope_theta: 1e4, ...scaling } });
    await expectFault(exportModel({ model, out: fresh(".gguf") }), message);
  });
});

it("keeps what a type can hold", async () => {
  const model = await tiny("base");
  const own = await logitsOf(model);
  // Rows of 32 are blocks of Q8_0 and Q5_0, not of Q4_K.
  for (const [dtype, bound] of [
    ["f16", 2e-3],
    ["bf16", 2e-2],
    ["q8_0", 3e-2],
    ["q4_k", 0.2],
  ] as const) {
    const out = fresh(".gguf");
    await exportModel({ model, dtype, out });
    const difference = arrayDifference(own, await logitsOf(out));
    expect(difference, dtype).toBeLessThan(bound);
    expect(difference, dtype).toBeGreaterThan(0);
  }
});

it("makes an adapter part of the weights, as a merge does", async () => {
  const model = await tiny("base");
  const [out, merged] = [fresh(".gguf"), fresh()];
  await exportModel({ model, adapter: ADAPTER, dtype: "f32", out });
  await merge({ model, adapter: ADAPTER, out: merged });
  expect(await logitsOf(out)).toEqual(await logitsOf(merged));
  expect(arrayDifference(await logitsOf(model, ADAPTER), await logitsOf(out))).toBeLessThan(1e-5);
});

it("takes a GGUF as well, and keeps its tokenizer and template", async () => {
  const [first, second] = [fresh(".gguf"), fresh(".gguf")];
  await exportModel({ model: await tiny("qwen3"), dtype: "f32", out: first });
  await exportModel({ model: first, dtype: "f32", out: second });
  expect(await logitsOf(second)).toEqual(await logitsOf(first));
  const [a, b] = [await openGguf(first), await openGguf(second)];
  await Promise.all([a.close(), b.close()]);
  const tokenizer = (file: typeof a) =>
    Object.fromEntries([...file.metadata].filter(([key]) => key.startsWith("tokenizer.")));
  expect(tokenizer(b)).toEqual(tokenizer(a));
  expect(a.metadata.get("tokenizer.chat_template")).toContain("messages");
});

describe("is refused, with nothing left behind", () => {
  it.each<[string, TinyModel, object, RegExp]>([
    ["an architecture without names", "glm-130b", {}, /llama, mistral[\s\S]*"glm-130b"/],
    ["images", "smolvlm", {}, /models that become GGUF/],
    ["layers without experts", "qwen2-moe-mixed", {}, /mlp_only_layers[\s\S]*norm_topk_prob/],
    ["another factor on scores", "gemma2", {}, /query_pre_attn_scalar[\s\S]*takes 12/],
    ["normed heads of Phi", "phi", {}, /qk_layernorm/],
    ["NeoX without biases", "gpt-neox-sequential", {}, /attention_bias/],
    ["an unknown type", "base", { dtype: "q3_k" }, /one of f32, f16, bf16, q8_0, q4_k/],
    ["a place that is taken", "base", { out: import.meta.filename }, /does not overwrite/],
    ["an adapter of another model", "head-dim", { adapter: ADAPTER }, /shape/],
  ])("%s", async (_, name, options, message) => {
    const model = await tiny(name);
    const folder = fresh();
    const out = join(folder, "x.gguf");
    await expectFault(exportModel({ model, out, ...options }), message);
    expect(existsSync(folder)).toBe(false);
  });

  it("a place that is no folder", async () => {
    const model = await tiny("base");
    const folder = fresh();
    await writeFile(folder, "");
    await expectFault(
      exportModel({ model, out: join(folder, "x.gguf") }),
      /must be one that can be written to/,
    );
    expect(readdirSync(scratch).filter((name) => name.endsWith(".tmp"))).toEqual([]);
  });
});
