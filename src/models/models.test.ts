// What config.json must say, and attention in blocks against attention in one.

import { afterAll, describe, expect, it } from "vitest";
import { TunesmithError } from "../errors.ts";
import { createRuntime } from "../runtime/kernel.ts";
import { createRandom } from "../runtime/random.ts";
import { arrayDifference } from "../runtime/testing/array-difference.ts";
import { evaluateGraph, randomFloats } from "../runtime/testing/evaluate.ts";
import { floats } from "../runtime/values.ts";
import { gradient, input, sizeOf, type Tensor } from "../tensor/index.ts";
import { causalAttention, queryBlocks } from "./attention.ts";
import { architectureFor } from "./registry.ts";

const CONFIG = {
  model_type: "llama",
  hidden_size: 32,
  intermediate_size: 40,
  num_hidden_layers: 2,
  num_attention_heads: 4,
  vocab_size: 50,
};

describe("config.json", () => {
  const faultsOf = (changes: Record<string, unknown>) => {
    try {
      architectureFor({ ...CONFIG, ...changes });
    } catch (error) {
      if (error instanceof TunesmithError) return error.faults.map(({ where }) => where);
      throw error;
    }
    return [];
  };

  it("is told all that is wrong at once", () => {
    const faults = faultsOf({
      hidden_size: undefined,
      vocab_size: "many",
      num_hidden_layers: 1.5,
      tie_word_embeddings: "yes",
      hidden_act: "gelu",
      num_key_value_heads: 3,
      rope_scaling: { rope_type: "stretched", factor: 2 },
    });
    for (const key of [
      "hidden_size",
      "vocab_size",
      "num_hidden_layers",
      "tie_word_embeddings",
      "hidden_act",
      "num_key_value_heads",
      "rope_scaling: rope_type",
    ])
      expect(faults).toContain(`config.json: ${key}`);
  });

  it.each([
    ["tensor parallel pretraining", { pretraining_tp: 2 }, "pretraining_tp"],
    [
      "part of a head rotated",
      { rope_parameters: { rope_type: "default", partial_rotary_factor: 0.5 } },
      "rope_parameters: partial_rotary_factor",
    ],
    ["an odd head size", { head_dim: 7 }, "head_dim"],
    ["scaling without a factor", { rope_scaling: { type: "linear" } }, "rope_scaling: factor"],
  ])("is refused where it changes the math: %s", (_name, changes, key) => {
    expect(faultsOf(changes)).toEqual([`config.json: ${key}`]);
  });

  const sized = { num_key_value_heads: 2, max_position_embeddings: 64 };
  const moe = { ...sized, moe_intermediate_size: 8, shared_expert_intermediate_size: 8 };
  it.each([
    [
      "windows that are not used",
      "qwen3",
      { ...sized, layer_types: ["full_attention", "sliding_attention"] },
      "sliding_window",
    ],
    [
      "layers of no known type",
      "qwen2",
      { ...sized, layer_types: ["full_attention", "chunked_attention"] },
      "layer_types",
    ],
    ["too few layer types", "gemma2", { ...sized, layer_types: ["full_attention"] }, "layer_types"],
    [
      "windows in some layers, which Transformers passes over",
      "mistral",
      { ...sized, layer_types: ["full_attention", "sliding_attention"] },
      "layer_types",
    ],
    [
      "windows in some layers, which Transformers passes over",
      "qwen3_moe",
      { ...moe, use_sliding_window: true, layer_types: ["full_attention", "sliding_attention"] },
      "layer_types",
    ],
    [
      "attention to both sides",
      "gemma3_text",
      { ...sized, use_bidirectional_attention: true },
      "use_bidirectional_attention",
    ],
    [
      "capped scores, which Transformers passes over",
      "gemma3_text",
      { ...sized, attn_logit_softcapping: 50 },
      "attn_logit_softcapping",
    ],
    [
      "one rotary embedding for all layers",
      "gemma3_text",
      { ...sized, rope_parameters: { rope_theta: 10000 } },
      "rope_parameters",
    ],
    ["another gate", "gemma", { ...sized, hidden_act: "silu" }, "hidden_act"],
    [
      "a cap of nothing",
      "gemma2",
      { ...sized, final_logit_softcapping: 0 },
      "final_logit_softcapping",
    ],
    [
      "another scaling",
      "phi3",
      { ...sized, rope_scaling: { type: "linear", factor: 2 } },
      "rope_scaling",
    ],
    [
      "factors for other pairs",
      "phi3",
      {
        ...sized,
        original_max_position_embeddings: 16,
        rope_scaling: { type: "longrope", short_factor: [1, 1, 1, 1], long_factor: [1, 2] },
      },
      "rope_scaling: long_factor",
    ],
    [
      "an odd part of a head rotated",
      "phi",
      { ...sized, partial_rotary_factor: 0.4 },
      "partial_rotary_factor",
    ],
    [
      "noise on what is routed",
      "mixtral",
      { ...sized, router_jitter_noise: 0.1 },
      "router_jitter_noise",
    ],
    [
      "more choices than experts",
      "mixtral",
      { ...sized, num_local_experts: 1 },
      "num_experts_per_tok",
    ],
    [
      "no key-value heads, of which each has its own default",
      "mistral",
      { max_position_embeddings: 64 },
      "num_key_value_heads",
    ],
    ["another activation", "qwen2", { ...sized, hidden_act: "gelu" }, "hidden_act"],
    ["layers that are no list", "qwen2_moe", { ...moe, mlp_only_layers: 0 }, "mlp_only_layers"],
  ])("is refused where it changes the math: %s", (_name, type, changes, key) => {
    expect(faultsOf({ model_type: type, ...changes })).toEqual([`config.json: ${key}`]);
  });

  it.each([
    ["qwen2", { ...sized, use_sliding_window: true, max_window_layers: 2 }],
    ["qwen2", { ...sized, use_sliding_window: false, max_window_layers: 0, sliding_window: 8 }],
    [
      "qwen3",
      { ...sized, use_sliding_window: true, layer_types: ["full_attention", "full_attention"] },
    ],
    ["mixtral", { ...sized, sliding_window: null }],
    ["mistral", { ...sized, layer_types: ["sliding_attention", "sliding_attention"] }],
    ["gemma", { ...sized, hidden_act: "gelu", hidden_activation: null }],
    ["gemma2", { ...sized, attn_logit_softcapping: null, use_bidirectional_attention: null }],
  ])("of a %s may say what changes nothing: %j", (type, changes) => {
    expect(faultsOf({ model_type: type, ...changes })).toEqual([]);
  });

  it("of a mistral has a window unless it says null", () => {
    const windowOf = (changes: object) =>
      architectureFor({ ...CONFIG, model_type: "mistral", ...sized, ...changes }).dimensions
        .slidingWindow;
    expect(windowOf({})).toBe(4096);
    expect(windowOf({ sliding_window: 16 })).toBe(16);
    expect(windowOf({ sliding_window: null })).toBeUndefined();
  });

  const [local, global] = ["local", "global"] as const;
  it.each([
    ["qwen2", { use_sliding_window: true, max_window_layers: 1 }, [global, local, local]],
    ["qwen2", { use_sliding_window: true, sliding_window: null, max_window_layers: 0 }, undefined],
    ["qwen2_moe", { use_sliding_window: true }, [local, global, local]],
    ["qwen2_moe", { use_sliding_window: true, max_window_layers: 2 }, [local, global, global]],
    ["gemma2", {}, [local, global, local]],
    ["gemma3_text", {}, [local, local, local]],
    ["gemma3_text", { sliding_window_pattern: 3 }, [local, local, global]],
    [
      "gemma3_text",
      { layer_types: ["full_attention", "sliding_attention", "full_attention"] },
      [global, local, global],
    ],
  ])("says how far each layer of a %s looks back: %j", (type, changes, reaches) => {
    const json = { ...CONFIG, ...moe, model_type: type, num_hidden_layers: 3, ...changes };
    const { dimensions } = architectureFor(json) as { dimensions: object };
    expect(dimensions).toMatchObject({ ...(reaches && { reaches, slidingWindow: 4096 }) });
    expect("slidingWindow" in dimensions).toBe(reaches !== undefined);
  });

  it("of a gemma 3 says two rotary embeddings, in the old form and in the new one", () => {
    const old = {
      rope_theta: 5000,
      rope_local_base_freq: 50,
      rope_scaling: { type: "linear", factor: 2 },
    };
    const full = { rope_type: "linear", factor: 2, rope_theta: 5000 };
    const sliding = { rope_type: "default", rope_theta: 50 };
    const byType = { rope_parameters: { full_attention: full, sliding_attention: sliding } };
    const tablesOf = (changes: object, reach: "global" | "local") =>
      architectureFor({ ...CONFIG, model_type: "gemma3_text", ...sized, ...changes }).rotaryTables(
        4,
        reach,
      );
    for (const reach of ["global", "local"] as const) {
      expect(tablesOf(old, reach)).toEqual(tablesOf(byType, reach));
      expect(tablesOf(old, reach)).not.toEqual(tablesOf({}, reach));
    }
    expect(tablesOf(old, "global")).not.toEqual(tablesOf(old, "local"));
  });

  it("says which layers have experts, and where", () => {
    const { blocks, weights } = architectureFor({
      ...CONFIG,
      model_type: "qwen2_moe",
      ...moe,
      num_experts: 4,
      decoder_sparse_step: 2,
    });
    expect(blocks.map(({ router }) => router)).toEqual([undefined, "model.layers.1.mlp.gate"]);
    const names = weights.map(({ name }) => name);
    expect(names).toContain("model.layers.0.mlp.up_proj.weight");
    expect(names).toContain("model.layers.1.mlp.experts.3.up_proj.weight");
    expect(names).toContain("model.layers.1.mlp.shared_expert_gate.weight");
  });

  it("says which architecture is nearest", () => {
    expect(() => architectureFor({ model_type: "lama" })).toThrow(
      /must be a supported architecture[\s\S]*"model_type": "llama"/,
    );
    expect(() => architectureFor({ model_type: "gemma3" })).toThrow(
      "text model alone, a gemma3_text",
    );
    expect(() => architectureFor({ model_type: "mamba2" })).toThrow("use another model");
    expect(() => architectureFor({})).toThrow("no such key");
  });

  it("decides which tensors the checkpoint holds", () => {
    const names = (changes: Record<string, unknown>) =>
      architectureFor({ ...CONFIG, ...changes }).weights.map(({ name }) => name);
    expect(names({}).at(-1)).toBe("lm_head.weight");
    expect(names({ tie_word_embeddings: true })).not.toContain("lm_head.weight");
    expect(names({ attention_bias: true })).toContain("model.layers.1.self_attn.o_proj.bias");
    expect(names({ mlp_bias: true })).toContain("model.layers.0.mlp.up_proj.bias");
  });
});

describe("attention", () => {
  const runtime = createRuntime({ threads: 1 });
  afterAll(() => runtime.dispose());

  it("is cut into blocks that cover the sequence once", () => {
    for (const sequence of [1, 127, 128, 300, 1024, 5000]) {
      const blocks = queryBlocks(sequence);
      expect(blocks[0]![0]).toBe(0);
      expect(blocks.at(-1)![1]).toBe(sequence);
      for (let i = 1; i < blocks.length; i++) expect(blocks[i]![0]).toBe(blocks[i - 1]![1]);
    }
    expect(queryBlocks(300).length).toBeGreaterThan(1);
  });

  it("gives in blocks what one block gives, gradients too", async () => {
    const [long, short, batch, heads, keyValueHeads, headSize] = [300, 100, 1, 4, 2, 8];
    const random = createRandom(2);
    // The first rows of a causal sequence are the shorter sequence, which is one block.
    const run = async (sequence: number, data: Float32Array[]) => {
      const q = input("q", [batch * sequence, heads * headSize]);
      const k = input("k", [batch * sequence, keyValueHeads * headSize]);
      const v = input("v", k.shape);
      const mask = input("mask", [1, 1, sequence, sequence]);
      const seed = input("seed", q.shape);
      const shape = { batch, sequence, heads, keyValueHeads, headSize };
      const y = causalAttention(q, k, v, mask, { scale: 0.3 }, shape);
      const gradients = gradient([[y, seed]], [q, k, v]) as Tensor[];
      const hidden = Float32Array.from({ length: sequence * sequence }, (_, i) =>
        i % sequence > Math.floor(i / sequence) ? -1e30 : 0,
      );
      const cut = (values: Float32Array, { shape: size }: Tensor) =>
        floats(values.slice(0, sizeOf(size)), size);
      const values = new Map([
        ...[q, k, v, seed].map((tensor, i) => [tensor, cut(data[i]!, tensor)] as const),
        [mask, floats(hidden, mask.shape)] as const,
      ]);
      return evaluateGraph(runtime, [y, ...gradients], values);
    };
    const width = [heads, keyValueHeads, keyValueHeads, heads].map((count) => count * headSize);
    const data = width.map((size) => randomFloats(random, long * size));
    // What comes after the shorter sequence must not reach back through the gradient either.
    data[3]!.fill(0, short * heads * headSize);
    expect(queryBlocks(short)).toHaveLength(1);
    const [whole, first] = [await run(long, data), await run(short, data)];
    for (const [i, values] of first.entries())
      expect(arrayDifference(whole[i]!.slice(0, values.length), values)).toBeLessThan(1e-5);
  });

  it("over a mask that hides nothing knows no order, across its blocks, gradients too", async () => {
    const [sequence, heads, headSize] = [300, 2, 8];
    const width = heads * headSize;
    const random = createRandom(3);
    const states = () => randomFloats(random, sequence * width);
    const [queries, keys, values, seeds] = [states(), states(), states(), states()];
    const reversed = (rows: Float32Array) =>
      rows.map((_, i) => rows[(sequence - 1 - Math.floor(i / width)) * width + (i % width)]!);
    const run = async (k: Float32Array, v: Float32Array) => {
      const tensors = ["q", "k", "v"].map((name) => input(name, [sequence, width]));
      const [q, own, other] = tensors as [Tensor, Tensor, Tensor];
      const mask = input("mask", [1, 1, sequence, sequence]);
      const seed = input("seed", q.shape);
      const shape = { batch: 1, sequence, heads, keyValueHeads: heads, headSize };
      const y = causalAttention(
        q,
        own,
        other,
        mask,
        { scale: 0.3 },
        { ...shape, seesContext: true },
      );
      const outputs = [y, ...(gradient([[y, seed]], tensors) as Tensor[])];
      return evaluateGraph(
        runtime,
        outputs,
        new Map([
          [q, floats(queries, q.shape)],
          [own, floats(k, q.shape)],
          [other, floats(v, q.shape)],
          [seed, floats(seeds, q.shape)],
          [mask, floats(new Float32Array(sequence ** 2), mask.shape)],
        ]),
      );
    };
    expect(queryBlocks(sequence).length).toBeGreaterThan(1);
    const forwards = await run(keys, values);
    const backwards = await run(reversed(keys), reversed(values));
    const expected = [forwards[0]!, forwards[1]!, reversed(forwards[2]!), reversed(forwards[3]!)];
    for (const [i, one] of expected.entries())
      expect(arrayDifference(backwards[i]!, one)).toBeLessThan(1e-5);
  });
});
