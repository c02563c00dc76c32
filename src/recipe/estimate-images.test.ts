// What images add, against arithmetic done by hand.

import { expect, it } from "vitest";
import { bindMethod, type MethodOptions, modelDescription } from "../methods/index.ts";
import { architectureFor } from "../models/index.ts";
import { estimateImages, type ImageEstimateInput } from "./estimate-images.ts";

/** Squares of 6 × 6 patches, in one block of width 8; 9 rows of width 12 come out. */
const [PATCHES, ROWS, WIDTH, INNER, HIDDEN] = [36, 9, 8, 10, 12];
const architecture = architectureFor(
  {
    model_type: "idefics3",
    text_config: {
      model_type: "llama",
      hidden_size: HIDDEN,
      intermediate_size: 16,
      num_hidden_layers: 1,
      num_attention_heads: 3,
      vocab_size: 20,
    },
    vision_config: {
      hidden_size: WIDTH,
      intermediate_size: INNER,
      num_hidden_layers: 1,
      num_attention_heads: 2,
      image_size: 24,
      patch_size: 4,
    },
    scale_factor: 2,
    image_token_id: 19,
  },
  "here",
);
const BLOCK = 4 * WIDTH ** 2 + 2 * WIDTH * INNER;
const SQUARE =
  2 * PATCHES * (BLOCK + 3 * 4 * 4 * WIDTH) +
  2 * ROWS * 4 * WIDTH * HIDDEN +
  4 * PATCHES ** 2 * WIDTH;

const counts = {
  images: 4,
  files: 3,
  tokens: 100,
  least: 20,
  most: 40,
  side: 24,
  squares: 8,
  fileSquares: 6,
  sampleSquares: 3,
};

function estimateWith(method: MethodOptions, change: Partial<ImageEstimateInput> = {}) {
  const bound = bindMethod(method, modelDescription(architecture, "idefics3", "here"));
  const given = { architecture, method: bound, counts, samples: 4, rows: 2, runSamples: 20 };
  const settings = { memory: "fast", streaming: false } as const;
  const { memory, ...rest } = estimateImages(architecture.images!, {
    ...given,
    ...settings,
    ...change,
  });
  return { ...rest, bytes: Object.fromEntries(memory.map(({ name, bytes }) => [name, bytes])) };
}

const textAlone = { name: "lora", rank: 2, targets: ".*text_model.*q_proj" } as const;
const everywhere = { name: "lora", rank: 2, targets: ["q_proj"] } satisfies MethodOptions;

it("counts every file once where nothing of the encoder is trained", () => {
  const { encodings, floatingPointOperations, bytes } = estimateWith(textAlone);
  expect(encodings).toBe(6);
  expect(floatingPointOperations).toBe(6 * SQUARE);
  expect(bytes["image rows that are kept"]).toBe(6 * ROWS * HIDDEN * 4);
  expect(bytes["pixels of an image"]).toBe(3 * 3 * 24 ** 2 * 4);
  expect(bytes["images saved for the backward pass"]).toBe(0);
  // No more than are looked at, and as often as they are where nobody knows how many differ.
  expect(estimateWith(textAlone, { runSamples: 2 }).encodings).toBe(4);
  expect(estimateWith(textAlone, { streaming: true }).encodings).toBe(40);
});

it("counts every step, forward and back, where the method reaches the encoder", () => {
  const { encodings, floatingPointOperations, bytes, why } = estimateWith(everywhere);
  expect(why).toContain("in every step");
  expect(encodings).toBe(40);
  expect(floatingPointOperations).toBe(40 * 2 * SQUARE);
  const outputs = 5 * WIDTH + INNER;
  expect(bytes["images saved for the backward pass"]).toBe(2 * 3 * PATCHES * (WIDTH + outputs) * 4);
  const lean = estimateWith(everywhere, { memory: "lean" });
  expect(lean.floatingPointOperations).toBe(40 * 3 * SQUARE);
  expect(lean.bytes["images saved for the backward pass"]).toBe(2 * 3 * PATCHES * WIDTH * 4);
});
