// The estimate against arithmetic done by hand, and the directions in which it must move.

import { expect, it } from "vitest";
import { type EstimateInput, estimate, estimateGeneration } from "./estimate.ts";

/** One layer with one 8 × 8 matrix and a vocabulary of 16. */
const input: EstimateInput = {
  dimensions: {
    layers: 1,
    hiddenSize: 8,
    vocabularySize: 16,
    heads: 2,
    keyValueHeads: 2,
    headSize: 4,
    maximumPositions: 64,
  },
  weights: [
    { name: "embed", shape: [16, 8], role: "embedding" },
    { name: "layers.0.q_proj.weight", shape: [8, 8], role: "linear" },
  ],
  logitCount: 16,
  head: "matrix",
  weightBytes: { held: 768, reordered: 0, widened: 0 },
  trainable: 10,
  optimizerSlots: 2,
  untrained: 5,
  rows: 2,
  rowTokens: 4,
  memory: "fast",
  stepTokens: 8,
  stepTargets: 4,
  steps: 3,
};

it("adds up what a step holds and computes", () => {
  const { memory, memoryBytes, floatingPointOperations } = estimate(input);
  const bytes = Object.fromEntries(memory.map((term) => [term.name, term.bytes]));
  expect(bytes["frozen weights"]).toBe(768);
  expect(bytes["trained weights, gradients, optimizer"]).toBe(10 * 4 * 4);
  expect(bytes["untrained tensors of the method"]).toBe(5 * 4);
  expect(bytes["saved for the backward pass"]).toBe(8 * (8 + 8) * 4);
  expect(memoryBytes).toBe(memory.reduce((sum, term) => sum + term.bytes, 0));
  const perToken = 2 * (2 * 64 + 2 * 2 * 4 * 4) + 6 * 10;
  expect(floatingPointOperations).toBe(3 * (8 * perToken + 4 * 2 * 2 * 8 * 16));
});

it("trades memory for arithmetic when lean", () => {
  const fast = estimate(input);
  const lean = estimate({ ...input, memory: "lean" });
  expect(lean.memoryBytes).toBeLessThan(fast.memoryBytes);
  expect(lean.floatingPointOperations).toBeGreaterThan(fast.floatingPointOperations);
});

it("charges nothing to the head for tokens that are only read", () => {
  const all = estimate({ ...input, stepTargets: 8 });
  expect(all.floatingPointOperations - estimate(input).floatingPointOperations).toBe(
    3 * 4 * 2 * 2 * 8 * 16,
  );
});

it("holds logits of a slice of the vocabulary, of all of it where that is trained", () => {
  const logitCount = 49152;
  const logits = (head: EstimateInput["head"], memory: "fast" | "lean", rows: number) =>
    estimate({ ...input, logitCount, head, memory, rows, rowTokens: 512 }).memory.find(
      ({ name }) => name === "logits",
    )!.bytes;
  expect(logits("matrix", "fast", 1)).toBe(512 * 2 * 4096 * 4);
  expect(logits("matrix", "fast", 8)).toBe(2048 * 2 * 4096 * 4);
  expect(logits("matrix", "lean", 8)).toBe(1536 * 2 * 4096 * 4);
  expect(logits("trained matrix", "fast", 8)).toBe(1152 * (49152 + 4096) * 4);
  expect(logits("whole", "lean", 8)).toBe(128 * 4 * 49152 * 4);
});

it("adds up what an answer holds", () => {
  const terms = estimateGeneration({ ...input, tokens: 6 });
  const bytes = Object.fromEntries(terms.map((term) => [term.name, term.bytes]));
  expect(bytes.weights).toBe(768);
  expect(bytes["keys and values"]).toBe(2 * 6 * 2 * 4 * 4);
  expect(bytes["one block at work"]).toBe((6 * (8 + 2 * 8) + 2 * 6 * 6) * 4);
  expect(bytes.logits).toBe(16 * 4);
});
