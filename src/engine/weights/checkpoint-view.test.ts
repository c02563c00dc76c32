import { describe, expect, it } from "vitest";
import type { Checkpoint } from "../../hub/index.ts";
import { checkpointView } from "./checkpoint-view.ts";

const stored = new Map([
  ["h.0.attn.weight", { dtype: "F32", shape: [2, 3], values: [1, 2, 3, 4, 5, 6] }],
  ["h.0.attn.half", { dtype: "F16", shape: [2, 2], values: [1, 2, 3, 4] }],
  ["h.0.attn.bias", { dtype: "F32", shape: [1, 1, 8], values: [] }],
  ["head.weight", { dtype: "F32", shape: [1], values: [7] }],
] as const);

const file = {
  source: "model",
  format: "safetensors",
  config: {},
  tensors: new Map([...stored].map(([name, { dtype, shape }]) => [name, { name, dtype, shape }])),
  async readFloat32Into(name: string, target: Float32Array) {
    target.set(stored.get(name as "head.weight")!.values);
  },
  async readRawInto(name: string, target: Uint8Array) {
    const { values } = stored.get(name as "h.0.attn.half")!;
    target.set(new Uint8Array(Uint16Array.from(values).buffer));
  },
} as unknown as Checkpoint;

const view = checkpointView(file, {
  basePrefix: "transformer",
  ignoredTensors: /attn\.bias$/,
  weights: [
    { name: "transformer.h.0.attn.weight", shape: [3, 2], role: "linear", isTransposed: true },
    { name: "transformer.h.0.attn.half", shape: [2, 2], role: "linear", isTransposed: true },
    { name: "head.weight", shape: [1], role: "norm" },
  ],
});

describe("a checkpoint as its architecture sees it", () => {
  it("has the names and shapes of the architecture, without what it ignores", () => {
    const shapes = [...view.tensors].map(([name, { shape }]) => [name, shape]);
    expect(shapes).toEqual([
      ["transformer.h.0.attn.weight", [3, 2]],
      ["transformer.h.0.attn.half", [2, 2]],
      ["head.weight", [1]],
    ]);
  });

  it("turns matrices that files hold the other way round", async () => {
    const target = new Float32Array(6);
    await view.readFloat32Into("transformer.h.0.attn.weight", target);
    expect([...target]).toEqual([1, 4, 2, 5, 3, 6]);
    const half = new Uint16Array(4);
    await view.readRawInto("transformer.h.0.attn.half", new Uint8Array(half.buffer));
    expect([...half]).toEqual([1, 3, 2, 4]);
  });

  it("keeps what lies as it should", async () => {
    const target = new Float32Array(1);
    await view.readFloat32Into("head.weight", target);
    expect([...target]).toEqual([7]);
  });

  it("leaves the matrices of a GGUF file as they are", () => {
    const gguf = { ...file, format: "gguf" } as Checkpoint;
    const turned = checkpointView(gguf, {
      basePrefix: "transformer",
      ignoredTensors: undefined,
      weights: [
        { name: "transformer.h.0.attn.weight", shape: [2, 3], role: "linear", isTransposed: true },
      ],
    });
    expect(turned.tensors.get("transformer.h.0.attn.weight")!.shape).toEqual([2, 3]);
  });
});
