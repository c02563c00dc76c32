// Experts on their own rows: which rows these are, what a checkpoint's tensors are called when they are
// written again, and what cannot be done to models that have experts.

import { cp, mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { openSafetensors, type TensorToWrite, writeSafetensors } from "../../hub/index.ts";
import type { MethodOptions } from "../../methods/index.ts";
import { openModel } from "../load.ts";
import {
  batchOf,
  differentiate,
  openTiny,
  randomRows,
  tinyModelFolder,
} from "../testing/tiny-models.ts";
import { expertRowCount, gatherColumns, rowsInColumn, scatterAddColumns } from "./expert-rows.ts";

describe("rows of an expert", () => {
  const routed = { data: Float32Array.of(1, 0.5, 0, 2, 0, 0.7, 3, 0.1, 0), width: 3 };

  it("are those with a share of it", () => {
    expect([...rowsInColumn({ ...routed, start: 1 }, 3)]).toEqual([0, 2]);
    expect([...rowsInColumn({ ...routed, start: 2 }, 3)]).toEqual([1]);
  });

  it("come back where they were", () => {
    const own = rowsInColumn({ ...routed, start: 1 }, 3);
    const packed = { data: new Float32Array(4), width: 2, start: 0 };
    gatherColumns({ ...routed, start: 0 }, own, packed, 2);
    expect([...packed.data]).toEqual([1, 0.5, 3, Math.fround(0.1)]);
    const target = { data: new Float32Array(9).fill(10), width: 3, start: 1 };
    scatterAddColumns(packed, own, target, 2);
    expect([...target.data].map(Math.round)).toEqual([10, 11, 11, 10, 10, 10, 10, 13, 10]);
  });

  it("are rounded up to few counts, by at most a quarter where there are many", () => {
    const counts = Array.from({ length: 2000 }, (_, i) => expertRowCount(i + 1));
    counts.forEach((size, i) => {
      expect(size).toBeGreaterThanOrEqual(i + 1);
      expect(size).toBeLessThan(i < 16 ? 2 * (i + 1) : 1.25 * (i + 1));
    });
    expect(new Set(counts).size).toBeLessThan(36);
  });
});

async function tensorsOf(folder: string): Promise<TensorToWrite[]> {
  const file = await openSafetensors(join(folder, "model.safetensors"));
  const tensors: TensorToWrite[] = [];
  for (const { name, shape, byteLength } of file.tensors.values()) {
    const data = new Uint8Array(byteLength);
    await file.readInto(name, data);
    tensors.push({ name, shape, dtype: "F32", data: () => data });
  }
  await file.close();
  return tensors;
}

async function withFolder(use: (folder: string) => Promise<void>): Promise<void> {
  const folder = await mkdtemp(join(tmpdir(), "tunesmith-experts-"));
  try {
    await use(folder);
  } finally {
    await rm(folder, { recursive: true });
  }
}

describe("a checkpoint with experts", () => {
  it.each(["mixtral", "qwen2-moe-mixed"] as const)(
    "of %s is written with its own names",
    async (tiny) => {
      await withFolder(async (folder) => {
        const model = await openTiny(tiny, { method: { name: "full" } });
        await model.saveAdapter(folder);
        await model.dispose();
        const named = async (path: string) =>
          (await tensorsOf(path)).map(({ name, shape }) => `${name} ${shape}`).sort();
        expect(await named(folder)).toEqual(await named(tinyModelFolder(tiny)));
      });
    },
  );

  it("is told which tensors it lacks and which have no place", async () => {
    await withFolder(async (folder) => {
      await cp(tinyModelFolder("mixtral"), folder, { recursive: true });
      const lacking = "model.layers.1.block_sparse_moe.experts.3.w2.weight";
      const fused = "model.layers.1.mlp.experts.down_proj";
      const tensors = await tensorsOf(folder);
      await writeSafetensors(
        join(folder, "model.safetensors"),
        tensors.map((tensor) => (tensor.name === lacking ? { ...tensor, name: fused } : tensor)),
      );
      const opening = openModel(folder, { threads: 1 });
      await expect(opening).rejects.toThrow(`${lacking}: config.json asks for a tensor`);
      await expect(openModel(folder, { threads: 1 })).rejects.toThrow(
        `${fused}: every tensor has a place`,
      );
    });
  });
});

describe("what is trained", () => {
  const batch = batchOf(
    randomRows(
      [12, 9].map(() => 10),
      4,
    ),
  );

  it.each([
    ["routers", /\.gate\.weight$/, 2],
    ["experts", /\.experts\.\d\.w[123]\.weight$/, 30],
  ] as const)("%s alone", async (parts, pattern, count) => {
    const model = await openTiny("mixtral", { method: { name: "freeze", parts } });
    const { gradients } = await differentiate(model, [batch]);
    expect([...gradients.keys()].every((name) => pattern.test(name))).toBe(true);
    expect(gradients.size).toBe(count);
    await model.dispose();
  });

  it("has no gradient in an expert that no row was sent to", async () => {
    const model = await openTiny("mixtral", { method: { name: "freeze", parts: "experts" } });
    const { gradients } = await differentiate(model, [batchOf([[5, 9]])]);
    // One row is labelled, so two of the last layer's five experts have one.
    const moved = [...gradients]
      .filter(
        ([name, values]) => name.includes(".layers.1.") && values.some((value) => value !== 0),
      )
      .map(([name]) => /experts\.(\d)/.exec(name)![1]);
    expect(new Set(moved).size).toBe(2);
    await model.dispose();
  });
});

const REFUSED: readonly [
  string,
  "mixtral" | "qwen2-moe" | "base" | "mistral-window",
  MethodOptions,
  RegExp,
][] = [
  [
    "routers of a dense model",
    "base",
    { name: "freeze", parts: "routers" },
    /llama, which has no experts/,
  ],
  [
    "experts of blocks that have none",
    "base",
    { name: "freeze", parts: "experts", blocks: 1 },
    /which has no experts/,
  ],
  [
    "experts in the place of experts",
    "qwen2-moe",
    { name: "moe-lora", targets: ["down_proj"] },
    /mlp\.experts: a qwen2_moe has experts there already/,
  ],
  [
    "routers beside experts",
    "mixtral",
    { name: "moe-lora", routing: "dense", targets: ["w1"] },
    /experts\.0\.w1, an expert of the model/,
  ],
  [
    "keys in front of a window",
    "mistral-window",
    { name: "prefix", virtualTokens: 3 },
    /whose positions see 5 at most/,
  ],
  [
    "names of another architecture",
    "mixtral",
    { name: "lora", targets: ["down_proj"] },
    /"down_proj" matches no module of/,
  ],
];

it.each(REFUSED)("refused at the start: %s", async (_name, tiny, method, message) => {
  await expect(openTiny(tiny, { method })).rejects.toThrow(message);
});
