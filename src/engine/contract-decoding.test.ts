// Greedy decoding under every method: the tokens that a cache leads to are those of reading everything
// again, and so are the logits behind them.

import { expect, it } from "vitest";
import { createRandom } from "../runtime/random.ts";
import { arrayDifference } from "../runtime/testing/array-difference.ts";
import type { Batch } from "./batch.ts";
import { createDecoder } from "./decoding/decoder.ts";
import { createReadImages } from "./decoding/read-images.ts";
import type { EngineModel } from "./load.ts";
import { contractBatches } from "./testing/contract-batches.ts";
import { ON_FIRST_MODELS, openWith } from "./testing/contract-subjects.ts";

const NEW_TOKENS = 5;

/** As if it had been trained: what starts as zero has an effect. */
function disturb({ parameters }: EngineModel): void {
  const random = createRandom(11);
  for (const { data } of parameters)
    for (let i = 0; i < data.length; i++) data[i]! += 0.05 * random.normal();
}

/** The likeliest token that is not an image's, which stands for nothing in an answer. */
const best = (logits: Float32Array, { architecture: { images } }: EngineModel) => {
  const words = images ? logits.with(images.token, Number.NEGATIVE_INFINITY) : logits;
  return words.indexOf(Math.max(...words));
};

/** The logits [vocabulary] after each of the last `count` positions, from passes without a cache. */
async function reread(
  model: EngineModel,
  ids: readonly number[],
  count: number,
  pictures: Pick<Batch, "pixelValues">,
) {
  const ends = Array.from({ length: count }, (_, i) => ids.length - count + 1 + i);
  // Where positions see later ones, each end needs a pass of its own.
  const lengths = ends.map((end) => (model.method?.mixesPositions ? end : ids.length));
  const passes = new Map<number, Float32Array>();
  for (const length of new Set(lengths))
    passes.set(
      length,
      (await model.forward({ inputIds: [ids.slice(0, length)], ...pictures })).logits.data,
    );
  return ends.map((end, i) => {
    const logits = passes.get(lengths[i]!)!;
    const width = logits.length / lengths[i]!;
    return logits.slice((end - 1) * width, end * width);
  });
}

it.each(ON_FIRST_MODELS)(
  "$method on $tiny: with a cache or without, the same text",
  async ({ tiny, entry }) => {
    const model = await openWith(tiny, entry);
    try {
      disturb(model);
      const decoder = createDecoder(model);
      const { inputIds, pixelValues } = contractBatches(tiny).alone[0];
      const ids = [...inputIds[0]!];
      const pictures = pixelValues && { pixelValues };
      const images = pixelValues && (await createReadImages(model)(ids, pixelValues));
      const cached: Float32Array[] = [];
      for (let fresh = [...ids]; cached.length < NEW_TOKENS; ) {
        const [logits] = await decoder.append([fresh], cached.length === 0 ? [images] : []);
        cached.push(logits!.slice());
        fresh = [best(logits!, model)];
        ids.push(...fresh);
      }
      const again = await reread(model, ids.slice(0, -1), NEW_TOKENS, pictures ?? {});
      expect(ids.slice(-NEW_TOKENS)).toEqual(again.map((logits) => best(logits, model)));
      cached.forEach((logits, i) => {
        expect(arrayDifference(logits, again[i]!)).toBeLessThan(2e-5);
      });
    } finally {
      await model.dispose();
    }
  },
);
