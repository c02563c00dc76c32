// Greedy decoding under every method: the tokens that a cache leads to are those of reading everything
// again, and so are the logits behind them.

import { expect, it } from "vitest";
import { createRandom } from "../runtime/random.ts";
import { arrayDifference } from "../runtime/testing/array-difference.ts";
import { createDecoder } from "./decoding/decoder.ts";
import type { EngineModel } from "./load.ts";
import { rows } from "./testing/contract-batches.ts";
import { ON_FIRST_MODELS, openWith } from "./testing/contract-subjects.ts";

const NEW_TOKENS = 5;

/** As if it had been trained: what starts as zero has an effect. */
function disturb({ parameters }: EngineModel): void {
  const random = createRandom(11);
  for (const { data } of parameters)
    for (let i = 0; i < data.length; i++) data[i]! += 0.05 * random.normal();
}

const best = (logits: Float32Array) => logits.indexOf(Math.max(...logits));

/** The logits [vocabulary] after each of the last `count` positions, from passes without a cache. */
async function reread(model: EngineModel, ids: readonly number[], count: number) {
  const ends = Array.from({ length: count }, (_, i) => ids.length - count + 1 + i);
  // Where positions see later ones, each end needs a pass of its own.
  const lengths = ends.map((end) => (model.method?.mixesPositions ? end : ids.length));
  const passes = new Map<number, Float32Array>();
  for (const length of new Set(lengths))
    passes.set(length, (await model.forward({ inputIds: [ids.slice(0, length)] })).logits.data);
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
      const ids = [...rows[0]];
      const cached: Float32Array[] = [];
      for (let fresh = [...ids]; cached.length < NEW_TOKENS; ) {
        const [logits] = await decoder.append([fresh]);
        cached.push(logits!.slice());
        fresh = [best(logits!)];
        ids.push(...fresh);
      }
      const again = await reread(model, ids.slice(0, -1), NEW_TOKENS);
      expect(ids.slice(-NEW_TOKENS)).toEqual(again.map(best));
      cached.forEach((logits, i) => {
        expect(arrayDifference(logits, again[i]!)).toBeLessThan(2e-5);
      });
    } finally {
      await model.dispose();
    }
  },
);
