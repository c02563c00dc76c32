// What is written is read again, by the reader whose own tests come from llama.cpp's files.

import { mkdtemp, readdir, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, it } from "vitest";
import { openGguf } from "./gguf.ts";
import { GGUF_ARCHITECTURES, ggufPlace, huggingFaceName } from "./gguf-architectures.ts";
import { writeGguf } from "./gguf-writer.ts";

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "tunesmith-gguf-"));
});
afterAll(() => rm(folder, { recursive: true }));

it("writes metadata and tensors that the reader finds again", async () => {
  const path = join(folder, "a.gguf");
  const tensors = [
    { name: "one", shape: [2, 3], data: Float32Array.of(1, 2, 3, 4, 5, 6) },
    { name: "zwei.lora_ä", shape: [5], data: Float32Array.of(-1, 0, 0.5, 1e-30, 7) },
  ];
  const halves = [Float32Array.of(1, 2), Float32Array.of(3, 4)];
  await writeGguf(path, {
    metadata: [
      ["general.architecture", { string: "llama" }],
      ["a.count", { uint32: 4_000_000_000 }],
      ["a.share", { float32: 0.25 }],
      ["a.flag", { bool: true }],
      ["words", { strings: ["", "ü"] }],
      ["numbers", { int32s: Int32Array.of(-1, 7) }],
      ["scores", { float32s: Float32Array.of(0.5) }],
    ],
    tensors: [
      ...tensors.map(({ data, ...tensor }) => ({ ...tensor, type: "F32" as const, parts: [data] })),
      {
        name: "in parts",
        shape: [2, 1, 2],
        type: "F16",
        parts: [halves[0]!, async () => halves[1]!],
      },
    ],
  });
  const file = await openGguf(path);
  expect(Object.fromEntries(file.metadata)).toMatchObject({
    "general.architecture": "llama",
    "a.count": 4_000_000_000,
    "a.share": 0.25,
    "a.flag": true,
    words: ["", "ü"],
    numbers: Int32Array.of(-1, 7),
    scores: Float32Array.of(0.5),
  });
  const joined = new Uint8Array(8);
  await file.readInto("in parts", joined);
  expect(new Uint16Array(joined.buffer)).toEqual(Uint16Array.of(0x3c00, 0x4000, 0x4200, 0x4400));
  for (const { name, shape, data } of tensors) {
    expect(file.tensors.get(name)!.shape).toEqual(shape);
    const bytes = new Uint8Array(data.byteLength);
    await file.readInto(name, bytes);
    expect(new Float32Array(bytes.buffer)).toEqual(data);
  }
  await file.close();
  expect(await readdir(folder)).toEqual(["a.gguf"]);
});

it("leaves nothing where a tensor fails on the way, and the file before as it was", async () => {
  const path = join(folder, "broken", "a.gguf");
  const good = { name: "a", shape: [1], type: "F32" as const, parts: [Float32Array.of(1)] };
  const bad = { ...good, name: "b", parts: [() => Promise.reject(new Error("the disk is gone"))] };
  const metadata = [["general.architecture", { string: "llama" }]] as const;
  await expect(writeGguf(path, { metadata, tensors: [good, bad] })).rejects.toThrow("disk is gone");
  expect(await readdir(join(folder, "broken"))).toEqual([]);
  await writeGguf(path, { metadata, tensors: [good] });
  await expect(writeGguf(path, { metadata, tensors: [bad] })).rejects.toThrow("disk is gone");
  expect(await readdir(join(folder, "broken"))).toEqual(["a.gguf"]);
  const file = await openGguf(path);
  expect([...file.tensors.keys()]).toEqual(["a"]);
  await file.close();
});

it("takes every name of a row there and back", () => {
  let names = 0;
  for (const architecture of GGUF_ARCHITECTURES) {
    const { modelNames, blockNames, biases } = architecture;
    const both = (part: string) => [
      `${part}.weight`,
      ...(biases.includes(part) ? [`${part}.bias`] : []),
    ];
    for (const name of [
      ...Object.keys(modelNames).flatMap(both),
      ...Object.keys(blockNames).flatMap((part) => both(`${part}`).map((one) => `blk.3.${one}`)),
    ]) {
      const place = ggufPlace(huggingFaceName(name, architecture)!.replace("#", "2"), architecture);
      expect(place, architecture.modelType).toEqual({
        name,
        ...(name.includes("_exps.") && { expert: 2 }),
      });
      names++;
    }
  }
  expect(names).toBeGreaterThan(200);
});

it("has llama.cpp's name for every tensor, and none for others", () => {
  const of = (type: string) => GGUF_ARCHITECTURES.find(({ modelType }) => modelType === type)!;
  for (const [type, name] of [
    ["llama", "blk.7.attn_q.weight"],
    ["llama", "blk.12.ffn_down.bias"],
    ["mistral", "token_embd.weight"],
    ["qwen2", "blk.0.attn_k.bias"],
    ["qwen3", "blk.0.attn_k_norm.weight"],
    ["mixtral", "output.weight"],
    ["mixtral", "blk.3.ffn_gate_inp.weight"],
  ] as const)
    expect(ggufPlace(huggingFaceName(name, of(type))!, of(type))).toEqual({ name });
  const experts = huggingFaceName("blk.3.ffn_down_exps.weight", of("mixtral"))!;
  expect(experts).toBe("model.layers.3.block_sparse_moe.experts.#.w2.weight");
  expect(ggufPlace(experts.replace("#", "12"), of("mixtral"))).toEqual({
    name: "blk.3.ffn_down_exps.weight",
    expert: 12,
  });
  for (const [type, name] of [
    ["llama", "model.layers.0.self_attn.query.weight"],
    ["llama", "model.layers.0.self_attn.q_proj.scale"],
    ["llama", "model.layers.0.self_attn.q_norm.weight"],
    ["qwen2", "model.layers.0.self_attn.o_proj.bias"],
    ["mixtral", "model.layers.0.mlp.up_proj.weight"],
  ] as const)
    expect(ggufPlace(name, of(type))).toBe(undefined);
});
