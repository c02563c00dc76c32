// Images in the engine: which of them are looked at again, and what is told where they do not fit. What they
// compute is held against Transformers in tests/parity.

import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, it } from "vitest";
import type { MethodOptions } from "../methods/index.ts";
import { patchPositions } from "../models/siglip.ts";
import { zeroGradients } from "../runtime/optimizer.ts";
import { arrayDifference } from "../runtime/testing/array-difference.ts";
import type { PixelValues } from "./batch.ts";
import { createDecoder } from "./decoding/decoder.ts";
import { createReadImages } from "./decoding/read-images.ts";
import { createRereadingDecoder } from "./decoding/rereading-decoder.ts";
import { createKeptStates } from "./kept-states.ts";
import { contractBatches } from "./testing/contract-batches.ts";
import { differentiate, openTiny } from "./testing/tiny-models.ts";

const { alone } = contractBatches("idefics3");
const [batch] = alone;
const [picture] = batch.pixelValues!;

/** How often a picture is read in two steps under a method. */
async function readsOf(targets: string): Promise<number> {
  const model = await openTiny("idefics3", { method: { name: "lora", rank: 2, targets } });
  let reads = 0;
  const data = async () => {
    reads++;
    return picture!.data as Float32Array;
  };
  const counted = { ...batch, pixelValues: [{ data, shape: picture!.shape }] };
  const first = await differentiate(model, [counted]);
  expect(await differentiate(model, [counted])).toEqual(first);
  expect(first.gradients).toEqual((await differentiate(model, [batch])).gradients);
  await model.dispose();
  return reads;
}

it("pictures are read once where nothing is trained in their encoder, else in every step", async () => {
  expect(await readsOf(".*text_model.*q_proj")).toBe(1);
  expect(await readsOf(".*connector.*proj")).toBe(2);
  expect(await readsOf(".*vision_model.*q_proj")).toBe(2);
});

it("states are kept as long as they fit, those used last the longest", () => {
  const pictures = [0, 1, 2].map((): PixelValues => ({ data: new Float32Array(), shape: [] }));
  const kept = createKeptStates(16);
  kept.set(pictures[0]!, new Float32Array(2));
  kept.set(pictures[1]!, new Float32Array(2));
  kept.get(pictures[0]!);
  kept.set(pictures[2]!, new Float32Array(2));
  expect(pictures.map((one) => kept.get(one) !== undefined)).toEqual([true, false, true]);
});

it("a patch has the position that lies at the same share of the way", () => {
  expect(patchPositions({ patchSize: 14, side: 27 }, 27 * 14, 27 * 14)).toEqual([
    ...Array.from({ length: 729 }).keys(),
  ]);
  expect(patchPositions({ patchSize: 4, side: 6 }, 8, 16)).toEqual([0, 1, 3, 4, 18, 19, 21, 22]);
});

const side = (pixels: number) => ({
  data: new Float32Array(3 * pixels ** 2),
  shape: [1, 3, pixels, pixels],
});
it.each([
  ["too few rows for the tokens", { ...batch, pixelValues: [] }, "4 tokens for 0 pictures of 0"],
  ["too many", { ...batch, pixelValues: [picture!, picture!] }, "4 tokens for 2 pictures of 8"],
  ["no whole patches", { ...batch, pixelValues: [side(18)] }, "18 × 18 pixels"],
  ["more patches than there are positions", { ...batch, pixelValues: [side(28)] }, "28 × 28"],
  ["a side that squares do not fill", { ...batch, pixelValues: [side(12)] }, "images are squares"],
  [
    "another number of colours",
    { ...batch, pixelValues: [{ ...side(16), shape: [1, 4, 16, 16] }] },
    "a picture is [images, 3, height, width]",
  ],
])("images are told that do not fit: %s", async (_name, given, seen) => {
  const model = await openTiny("idefics3");
  await expect(model.forward(given)).rejects.toThrow(seen);
  await model.dispose();
});

it("a model that reads text alone is given none", async () => {
  const model = await openTiny("base");
  await expect(model.forward(batch)).rejects.toThrow("images are for models that look at them");
  await model.dispose();
});

it("without pictures, tokens of images are tokens like others", async () => {
  const model = await openTiny("idefics3");
  const { pixelValues: _, ...text } = batch;
  const { logits } = await model.forward(text);
  expect(logits.data).not.toEqual((await model.forward(batch)).logits.data);
  await model.dispose();
});

it("decoders that keep nothing, and that are cut back, see the same images", async () => {
  const model = await openTiny("idefics3");
  const rows = alone.map(({ inputIds }) => inputIds[0]!);
  const readImages = createReadImages(model);
  const images: Float32Array[] = [];
  for (const [b, row] of rows.entries()) images.push(await readImages(row, alone[b]!.pixelValues!));
  const caching = createDecoder(model, { batch: 2, chunk: 3 });
  const rereading = createRereadingDecoder(model, { batch: 2 });
  const same = async (given: readonly (readonly number[])[], states?: typeof images) => {
    const own = (await caching.append(given, states)).map((logits) => logits?.slice());
    const again = await rereading.append(given, states);
    for (const [b, logits] of own.entries())
      expect(arrayDifference(logits!, again[b]!), `row ${b}`).toBeLessThan(1e-5);
    return own;
  };
  const first = await same(rows, images);
  await same([[7], [96]]); // a token of images that somebody generated stands for nothing
  for (const decoder of [caching, rereading]) for (const b of [0, 1]) decoder.truncate(b, 2);
  // Cut off behind the first row of an image: what is read again are the others.
  const rest = images.map((states) => states.subarray(32));
  const again = await same(
    rows.map((row) => row.slice(2)),
    rest,
  );
  for (const [b, logits] of first.entries())
    expect(arrayDifference(again[b]!, logits!)).toBeLessThan(1e-5);
  await model.dispose();
});

const OF_TEXTS = "adapts the decoder, which reads texts";

it("what is initialised by a look at texts adapts the decoder", async () => {
  const method = { name: "lora", init: "eva", targets: ["q_proj"] } as const;
  const data = { batches: () => alone };
  await expect(openTiny("idefics3", { method, data })).rejects.toThrow(OF_TEXTS);
});

it("what has a share for every token of a text adapts the decoder", async () => {
  const folder = await mkdtemp(join(tmpdir(), "tunesmith-encoder-"));
  const model = await openTiny("idefics3", { method: { name: "lora", rank: 2 } });
  await model.saveAdapter(folder);
  await model.dispose();
  const method: MethodOptions = { name: "x-lora", adapters: [folder, folder] };
  await expect(openTiny("idefics3", { method })).rejects.toThrow(OF_TEXTS);
  await rm(folder, { recursive: true });
});

it("AdaLoRA's factors in the encoder count once in its loss, whatever number of images there is, or none", async () => {
  const targets = ".*vision_model.*q_proj";
  const method = { name: "adalora", totalSteps: 100, targets, orthogonality: 0.5 } as const;
  const model = await openTiny("idefics3", { method });
  const lossOf = async (count: number) => {
    const [ids = []] = batch.inputIds;
    const more = Array.from({ length: Math.max(0, count - 1) }, () => [96, 96, 96, 96]).flat();
    const inputIds = [[...more, ...ids]];
    const images = Array.from({ length: count }, () => picture!);
    const pixels = count > 0 ? { pixelValues: images } : {};
    return model.accumulateGradients({ inputIds, labels: inputIds, ...pixels }, { scale: 1 });
  };
  const { auxiliaryLoss } = await lossOf(1);
  expect(auxiliaryLoss).toBeGreaterThan(0);
  expect((await lossOf(3)).auxiliaryLoss).toBe(auxiliaryLoss);
  zeroGradients(model.parameters);
  expect((await lossOf(0)).auxiliaryLoss).toBe(auxiliaryLoss);
  for (const { name, gradient, hasGradient } of model.parameters) {
    expect(hasGradient, name).toBe(!name.endsWith("lora_E"));
    expect(gradient.some((value) => value !== 0)).toBe(hasGradient);
  }
  await model.dispose();
});
