import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { tinyModelFolder } from "../engine/testing/tiny-models.ts";
import { scaleModel } from "./scale.ts";

const GLM_130B = join(import.meta.dirname, "../../docs/glm-130b");
const HIDDEN = 12288;
const INNER = 32768;
const LAYERS = 70;
const VOCABULARY = 150528;
/** Fused projection and output, both halves of the gate and the way back, their biases, two layer norms. */
const MATRICES = 4 * HIDDEN ** 2 + 3 * HIDDEN * INNER;
const BLOCK = MATRICES + 4 * HIDDEN + 2 * INNER + HIDDEN + 4 * HIDDEN;
const ALL = LAYERS * BLOCK + VOCABULARY * HIDDEN + 2 * HIDDEN;

const termsOf = (terms: readonly { name: string; bytes: number }[]) =>
  Object.fromEntries(terms.map(({ name, bytes }) => [name, bytes]));

describe("GLM-130B, by hand", async () => {
  const scale = await scaleModel(GLM_130B, { devices: 64, deviceBytes: 80e9 });

  it("has its parameters", () => {
    expect(scale.parameters).toEqual({
      total: ALL,
      block: BLOCK,
      blocks: LAYERS,
      embedding: VOCABULARY * HIDDEN,
    });
    const bytes = termsOf(scale.weights);
    expect(bytes["16-bit"]).toBe(2 * ALL);
    expect(bytes.float32).toBe(4 * ALL);
    const rest = 2 * (ALL - LAYERS * MATRICES);
    const rows = LAYERS * (3 * HIDDEN + HIDDEN + 2 * INNER + HIDDEN);
    expect(bytes.int8).toBe(LAYERS * MATRICES + 4 * rows + rest);
    const blocks = (LAYERS * MATRICES) / 64;
    expect(bytes.nf4! - rest).toBeCloseTo(LAYERS * MATRICES * 0.5 + blocks * (1 + 4 / 256), -4);
  });

  it("is shared among devices as Rajbhandari et al. say", () => {
    const [full, lora, qlora] = scale.methods;
    expect(full!.trainable).toBe(ALL);
    const shared = termsOf(full!.terms);
    expect(shared.weights! + shared.gradients! + shared.optimizer!).toBeCloseTo((16 * ALL) / 64, 0);
    expect(full!.optimizerBytes).toBe(12 * ALL);
    expect(full!.left).toBe(80e9 - full!.bytes);
    // Rank 8 on the fused projection: A of 8 × hidden, B of 3 · hidden × 8.
    expect(lora!.trainable).toBe(LAYERS * 8 * (HIDDEN + 3 * HIDDEN));
    expect(termsOf(lora!.terms).weights).toBeCloseTo((2 * ALL + 2 * lora!.trainable) / 64, 0);
    const wide = 4 * HIDDEN + 2 * HIDDEN + (HIDDEN + 2 * INNER) + (INNER + HIDDEN);
    expect(qlora!.trainable).toBe(LAYERS * 8 * wide);
  });

  it("keeps the inputs of blocks alone", () => {
    const { kept, atWork } = scale.activations.find(
      ({ rows, tokens }) => rows === 4 && tokens === 2048,
    )!;
    expect(kept).toBe(4 * 2048 * HIDDEN * LAYERS * 2);
    const outputs = 3 * HIDDEN + HIDDEN + 2 * INNER + HIDDEN + 2 * HIDDEN;
    expect(atWork).toBe(2 * 2 * (4 * 2048 * outputs + 4 * 96 * 2048 ** 2));
  });
});

it("is of any architecture, and of its own context", async () => {
  const { setting, parameters } = await scaleModel(tinyModelFolder("base"));
  expect(setting).toEqual({ devices: 8, deviceBytes: 80e9, rows: 1, tokens: 64 });
  expect(parameters.total).toBeGreaterThan(0);
});

it("refuses a folder without a config, and numbers that count nothing", async () => {
  const empty = await mkdtemp(join(tmpdir(), "tunesmith-scale-"));
  try {
    await expect(scaleModel(empty)).rejects.toThrow(/no config\.json/);
  } finally {
    await rm(empty, { recursive: true });
  }
  await expect(scaleModel(GLM_130B, { devices: 0, rows: 1.5 })).rejects.toThrow(
    /devices[\s\S]*rows/,
  );
});
