import { mkdirSync, readdirSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { openCheckpoint } from "./checkpoint.ts";
import type { Checkpoint } from "./checkpoint-types.ts";
import { encodeHalf } from "./half.ts";
import { writeSafetensors } from "./safetensors/safetensors-writer.ts";
import { casePath } from "./testing/cases.ts";
import { expectFault, temporaryFile, temporaryFolder } from "./testing/files.ts";
import {
  float32Tensor,
  ggufBytes,
  type Metadata,
  type TensorSpec,
} from "./testing/gguf-builder.ts";

async function read(checkpoint: Checkpoint, name: string): Promise<number[]> {
  const { shape } = checkpoint.tensors.get(name)!;
  const target = new Float32Array(shape.reduce((product, size) => product * size, 1));
  await checkpoint.readFloat32Into(name, target);
  return [...target];
}

function folderWith(files: Record<string, string>): string {
  const folder = temporaryFolder();
  for (const [name, content] of Object.entries(files)) writeFileSync(join(folder, name), content);
  return folder;
}

describe("a Hugging Face folder", () => {
  it("is read as transformers saved it", async () => {
    const folder = casePath("llama/base/model");
    const checkpoint = await openCheckpoint(folder);
    expect(checkpoint.format).toBe("safetensors");
    expect(checkpoint.config.model_type).toBe("llama");
    expect(checkpoint.generationConfig).toBeDefined();
    const tensor = checkpoint.tensors.get("model.norm.weight")!;
    expect(tensor.location?.path).toBe(join(folder, "model.safetensors"));
    expect(await read(checkpoint, "model.norm.weight")).toHaveLength(tensor.shape[0]!);
    await expectFault(
      checkpoint.readFloat32Into("model.norm.wieght", new Float32Array(1)),
      /nearest is "model.norm.weight"/,
    );
    await checkpoint.close();
  });

  it("may be in shards", async () => {
    const checkpoint = await openCheckpoint(casePath("llama/sharded/model"));
    const files = new Set([...checkpoint.tensors.values()].map(({ location }) => location?.path));
    expect(files.size).toBeGreaterThan(1);
    for (const name of checkpoint.tensors.keys())
      expect((await read(checkpoint, name)).every(Number.isFinite)).toBe(true);
    await checkpoint.close();
  });

  it("keeps 16-bit weights as they are and decodes them on wish, chunk by chunk", async () => {
    const folder = folderWith({ "config.json": "{}" });
    const values = Float32Array.from({ length: 2_200_000 }, (_, i) => (i % 977) - 488);
    await writeSafetensors(join(folder, "model.safetensors"), [
      { name: "a", dtype: "BF16", shape: [2200, 1000], data: values },
    ]);
    const checkpoint = await openCheckpoint(folder);
    const raw = new Uint8Array(4_400_000);
    await checkpoint.readRawInto("a", raw);
    const bits = new Uint16Array(values.length);
    encodeHalf(values, "BF16", bits);
    expect(Buffer.compare(raw, new Uint8Array(bits.buffer))).toBe(0);
    const decoded = new Float32Array(values.length);
    await checkpoint.readFloat32Into("a", decoded);
    // 488 needs nine bits of fraction; bfloat16 has eight.
    const worst = decoded.reduce(
      (most, value, i) => Math.max(most, Math.abs(value - values[i]!)),
      0,
    );
    expect(worst).toBe(1);
    await expect(checkpoint.readFloat32Into("a", new Float32Array(5))).rejects.toThrow(RangeError);
    await checkpoint.close();
  });
});

describe("what is no model is refused", () => {
  const config = { "config.json": "{}" };
  const index = (map: unknown) => ({
    ...config,
    "model.safetensors.index.json": JSON.stringify({ weight_map: map }),
  });
  const cases: [string, Record<string, string>, RegExp][] = [
    ["an empty folder", {}, /config\.json[\s\S]*an empty folder/],
    ["an adapter", { "adapter_config.json": "{}" }, /this is an adapter[\s\S]*base model/],
    ["no weights", config, /must hold model\.safetensors/],
    ["broken config.json", { "config.json": '{\n "a": 1,\n oops }' }, /config\.json:3:\d+: .*JSON/],
    ["config.json with a list", { "config.json": "[]" }, /one JSON object/],
    ["a pickle", { ...config, "pytorch_model.bin": "boom" }, /never opened[\s\S]*save_pretrained/],
    ["pickle shards", { ...config, "pytorch_model-00001-of-00002.bin": "" }, /never opened/],
    ["an index without map", index(undefined), /weight_map/],
    ["a missing shard", index({ a: "model-2.safetensors" }), /no model-2\.safetensors/],
    ["a shard elsewhere", index({ a: "../model.safetensors" }), /in the same folder/],
    ["two GGUF files", { "a.gguf": "", "b.gguf": "" }, /2 GGUF files[\s\S]*a\.gguf/],
  ];
  it.each(cases)("%s", async (_, files, pattern) => {
    await expectFault(openCheckpoint(folderWith(files)), pattern);
  });

  it("a shard without the tensor that the index puts there", async () => {
    const folder = folderWith(index({ a: "x.safetensors", b: "x.safetensors" }));
    const data = new Float32Array(1);
    await writeSafetensors(join(folder, "x.safetensors"), [
      { name: "a", dtype: "F32", shape: [1], data },
    ]);
    await expectFault(openCheckpoint(folder), /no "b" in x\.safetensors/);
  });

  it("a missing path, a pickle and a bare weights file", async () => {
    await expectFault(openCheckpoint("/nowhere"), /no such path/);
    await expectFault(openCheckpoint(temporaryFile("m.pt", "boom")), /never opened/);
    await expectFault(openCheckpoint(temporaryFile("m.safetensors", "")), /name the folder/);
  });
});

// Two heads of four rows, one of them for keys; every row of a tensor holds its own number.
const rows = (name: string, count: number, columns: number) =>
  float32Tensor(
    name,
    [count, columns],
    Array.from({ length: count * columns }, (_, i) => Math.floor(i / columns)),
  );
const llamaMetadata: Metadata = {
  "general.architecture": "llama",
  "llama.block_count": 1,
  "llama.context_length": 64,
  "llama.embedding_length": 8,
  "llama.feed_forward_length": 12,
  "llama.attention.head_count": 2,
  "llama.attention.head_count_kv": 1,
  "llama.attention.layer_norm_rms_epsilon": 1e-6,
  "llama.rope.freq_base": 500000.5,
};
const llamaTensors: TensorSpec[] = [
  rows("token_embd.weight", 5, 8),
  float32Tensor("output_norm.weight", [8], Array(8).fill(1)),
  float32Tensor("blk.0.attn_norm.weight", [8], Array(8).fill(1)),
  float32Tensor("blk.0.ffn_norm.weight", [8], Array(8).fill(1)),
  rows("blk.0.attn_q.weight", 8, 8),
  rows("blk.0.attn_k.weight", 4, 8),
  rows("blk.0.attn_v.weight", 4, 8),
  rows("blk.0.attn_output.weight", 8, 8),
  rows("blk.0.ffn_gate.weight", 12, 8),
  rows("blk.0.ffn_up.weight", 12, 8),
  rows("blk.0.ffn_down.weight", 8, 12),
];
const openLlama = (metadata: Metadata = {}, more: TensorSpec[] = []) =>
  openCheckpoint(
    temporaryFile(
      "tiny.gguf",
      ggufBytes({ ...llamaMetadata, ...metadata }, [...llamaTensors, ...more]),
    ),
  );

describe("a GGUF file", () => {
  it("gives Hugging Face's configuration, names and row order", async () => {
    const checkpoint = await openLlama();
    expect(checkpoint.format).toBe("gguf");
    expect(checkpoint.config).toMatchObject({
      model_type: "llama",
      vocab_size: 5,
      hidden_size: 8,
      num_key_value_heads: 1,
      head_dim: 4,
      rms_norm_eps: 1e-6,
      rope_theta: 500000.5,
      rope_scaling: null,
      tie_word_embeddings: true,
      attention_bias: false,
    });
    expect([...checkpoint.tensors.keys()].sort()).toEqual([
      "model.embed_tokens.weight",
      "model.layers.0.input_layernorm.weight",
      "model.layers.0.mlp.down_proj.weight",
      "model.layers.0.mlp.gate_proj.weight",
      "model.layers.0.mlp.up_proj.weight",
      "model.layers.0.post_attention_layernorm.weight",
      "model.layers.0.self_attn.k_proj.weight",
      "model.layers.0.self_attn.o_proj.weight",
      "model.layers.0.self_attn.q_proj.weight",
      "model.layers.0.self_attn.v_proj.weight",
      "model.norm.weight",
    ]);
    const firstColumn = async (part: string) =>
      (await read(checkpoint, `model.layers.0.self_attn.${part}.weight`)).filter(
        (_, i) => i % 8 === 0,
      );
    // llama.cpp's converter takes row h·4 + half·2 + i to h·4 + i·2 + half.
    expect(await firstColumn("q_proj")).toEqual([0, 2, 1, 3, 4, 6, 5, 7]);
    expect(await firstColumn("k_proj")).toEqual([0, 2, 1, 3]);
    expect(await firstColumn("v_proj")).toEqual([0, 1, 2, 3]);
    expect(checkpoint.tensors.get("model.layers.0.self_attn.q_proj.weight")).not.toHaveProperty(
      "location",
    );
    expect(checkpoint.tensors.get("model.norm.weight")).toHaveProperty("location");
    const raw = new Float32Array(32);
    await checkpoint.readRawInto(
      "model.layers.0.self_attn.k_proj.weight",
      new Uint8Array(raw.buffer),
    );
    expect(raw[8]).toBe(2);
    await checkpoint.close();
  });

  it("is found in a folder that holds nothing else to load", async () => {
    const folder = temporaryFolder();
    mkdirSync(join(folder, "snapshot"));
    const path = temporaryFile("tiny.gguf", ggufBytes(llamaMetadata, llamaTensors));
    symlinkSync(path, join(folder, "snapshot", "tiny.gguf"));
    const checkpoint = await openCheckpoint(join(folder, "snapshot"));
    expect(checkpoint.format).toBe("gguf");
    await checkpoint.close();
    expect(readdirSync(join(folder, "snapshot"))).toEqual(["tiny.gguf"]);
  });

  it("has an untied head where it holds one", async () => {
    const checkpoint = await openLlama({}, [rows("output.weight", 5, 8)]);
    expect(checkpoint.config.tie_word_embeddings).toBe(false);
    expect(await read(checkpoint, "lm_head.weight")).toHaveLength(40);
    await checkpoint.close();
  });

  it("tells linear and yarn scaling", async () => {
    const scaling = async (metadata: Metadata) => {
      const checkpoint = await openLlama(metadata);
      await checkpoint.close();
      return checkpoint.config.rope_scaling;
    };
    const key = "llama.rope.scaling";
    expect(await scaling({ [`${key}.type`]: "linear", [`${key}.factor`]: 4 })).toEqual({
      rope_type: "linear",
      factor: 4,
    });
    expect(
      await scaling({
        [`${key}.type`]: "yarn",
        [`${key}.factor`]: 8,
        [`${key}.original_context_length`]: 8,
      }),
    ).toMatchObject({ rope_type: "yarn", factor: 8, original_max_position_embeddings: 8 });
    expect(await scaling({ [`${key}.type`]: "none", [`${key}.factor`]: 8 })).toBeNull();
    await expectFault(
      scaling({ [`${key}.type`]: "longrope", [`${key}.factor`]: 8 }),
      /"none", "linear" or "yarn"/,
    );
  });

  it("finds llama3 scaling behind the factors of its frequencies", async () => {
    // Transformers' formula, for Llama 3.2 (factor 32) but with a head of 64.
    const [factor, low, high, original] = [32, 1, 4, 8192];
    const factors = Float32Array.from({ length: 32 }, (_, i) => {
      const wavelength = 2 * Math.PI * 500000 ** ((2 * i) / 64);
      if (wavelength < original / high) return 1;
      if (wavelength > original / low) return factor;
      const smooth = (original / wavelength - low) / (high - low);
      return 1 / ((1 - smooth) / factor + smooth);
    });
    const metadata = {
      "llama.attention.key_length": 64,
      "llama.attention.head_count": 1,
      "llama.rope.freq_base": 500000,
    };
    const attention = llamaTensors.map((tensor) =>
      /attn_[qkv]\./.test(tensor.name) ? rows(tensor.name, 64, 8) : tensor,
    );
    const open = (values: Float32Array) =>
      openCheckpoint(
        temporaryFile(
          "tiny.gguf",
          ggufBytes({ ...llamaMetadata, ...metadata }, [
            ...attention,
            float32Tensor("rope_freqs.weight", [32], values),
          ]),
        ),
      );
    const checkpoint = await open(factors);
    expect(checkpoint.config.rope_scaling).toEqual({
      rope_type: "llama3",
      factor: 32,
      low_freq_factor: 1,
      high_freq_factor: 4,
      original_max_position_embeddings: 8192,
    });
    expect(checkpoint.tensors.has("rope_freqs.weight")).toBe(false);
    await checkpoint.close();
    await expectFault(open(factors.map((value, i) => value + (i % 3))), /do not fit/);
  });

  const refused: [string, Metadata, TensorSpec[], RegExp][] = [
    ["another architecture", { "general.architecture": "mamba" }, [], /"mamba"/],
    ["a missing size", { "llama.block_count": 0 }, [], /block_count is a whole number above 0/],
    ["a size of text", { "llama.embedding_length": "wide" }, [], /is a number/],
    ["wrong heads", { "llama.attention.head_count": 4 }, [], /make 2 rows[\s\S]*\[4, 8\]/],
    [
      "experts of Qwen2",
      { "general.architecture": "qwen2", "qwen2.expert_count": 8 },
      [],
      /mixture of experts/,
    ],
    ["a part of a model", { "split.count": 3 }, [], /llama-gguf-split/],
    ["a tensor of another model", {}, [rows("blk.0.ssm_in.weight", 1, 8)], /ssm_in/],
  ];
  it.each(refused)("with %s is refused", async (_, metadata, more, pattern) => {
    await expectFault(openLlama(metadata, more), pattern);
  });
});
