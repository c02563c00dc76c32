// Choosing tokens: the likeliest one without temperature, and only from what the filters leave.

import { expect, it } from "vitest";
import { createRandom } from "../runtime/random.ts";
import { chooseToken, type Sampling } from "./choose-token.ts";

/** Probabilities 0.5, 0.3, 0.15, 0.05 at temperature 1. */
const logits = Float32Array.from([0.15, 0.5, 0.05, 0.3], Math.log);

function drawn(sampling: Sampling, seen: number[] = []): number[] {
  const random = createRandom(1);
  const ids = Array.from({ length: 400 }, () => chooseToken(logits, sampling, seen, random));
  return [...new Set(ids)].sort((a, b) => a - b);
}

it("takes the likeliest token without temperature", () => expect(drawn({})).toEqual([1]));

it.each<[Sampling, number[]]>([
  [{ temperature: 1 }, [0, 1, 2, 3]],
  [{ temperature: 1, topK: 2 }, [1, 3]],
  [{ temperature: 1, topP: 0.75 }, [1, 3]],
  [{ temperature: 1, topP: 0.01 }, [1]],
  [{ temperature: 1, minP: 0.25 }, [0, 1, 3]],
  [{ temperature: 0.01 }, [1]],
])("draws with %j from %j", (sampling, ids) => expect(drawn(sampling)).toEqual(ids));

it("draws as often as the probabilities say", () => {
  const random = createRandom(7);
  let hits = 0;
  for (let draw = 0; draw < 4000; draw++)
    if (chooseToken(logits, { temperature: 1 }, [], random) === 1) hits++;
  expect(hits / 4000).toBeCloseTo(0.5, 1);
});

it("makes repeats less likely, whatever the sign of their logit", () => {
  expect(drawn({ repetitionPenalty: 3 }, [1])).toEqual([3]);
  const positive = Float32Array.of(2, 1.5);
  expect(chooseToken(positive, { repetitionPenalty: 2 }, [0], createRandom(0))).toBe(1);
});
