// What is written is read again, by the reader whose own tests come from llama.cpp's files.

import { mkdtemp, readdir, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, it } from "vitest";
import { openGguf } from "./gguf.ts";
import { ggufName, huggingFaceName } from "./gguf-llama.ts";
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
  await writeGguf(path, {
    metadata: [
      ["general.architecture", { string: "llama" }],
      ["a.count", { uint32: 4_000_000_000 }],
      ["a.share", { float32: 0.25 }],
    ],
    tensors,
  });
  const file = await openGguf(path);
  expect(Object.fromEntries(file.metadata)).toMatchObject({
    "general.architecture": "llama",
    "a.count": 4_000_000_000,
    "a.share": 0.25,
  });
  for (const { name, shape, data } of tensors) {
    expect(file.tensors.get(name)!.shape).toEqual(shape);
    const bytes = new Uint8Array(data.byteLength);
    await file.readInto(name, bytes);
    expect(new Float32Array(bytes.buffer)).toEqual(data);
  }
  await file.close();
  expect(await readdir(folder)).toEqual(["a.gguf"]);
});

it("has llama.cpp's name for every tensor of a LLaMA, and none for others", () => {
  for (const name of [
    "blk.7.attn_q.weight",
    "blk.12.ffn_down.bias",
    "token_embd.weight",
    "output.weight",
  ])
    expect(ggufName(huggingFaceName(name)!)).toBe(name);
  expect(ggufName("model.layers.0.self_attn.query.weight")).toBe(undefined);
  expect(ggufName("model.layers.0.self_attn.q_proj.scale")).toBe(undefined);
});
