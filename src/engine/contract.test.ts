// What every method keeps to on every architecture, with the pairs that tell something; the rest are in
// contract-grid.slow.test.ts. A new method joins by an entry in testing/method-entries.ts, an architecture
// by one in testing/contract-subjects.ts; the types and the first test say when one is missing.

import { describe, expect, it } from "vitest";
import { supportedModelTypes } from "../models/index.ts";
import { arrayDifference } from "../runtime/testing/array-difference.ts";
import { rows } from "./testing/contract-batches.ts";
import { ARCHITECTURES, EVERYWHERE } from "./testing/contract-subjects.ts";
import { methodContract } from "./testing/method-contract.ts";
import { batchOf, openTiny } from "./testing/tiny-models.ts";

it("the contract covers every architecture", () => {
  expect(Object.keys(ARCHITECTURES).sort()).toEqual([...supportedModelTypes].sort());
});

describe.each(EVERYWHERE)("$method on $tiny", ({ tiny, entry }) => methodContract(tiny, entry));

it("a 16-bit checkpoint stays 16-bit in memory, and computes what its widened form does", async () => {
  const [half, wide] = [
    await openTiny("f16-weights"),
    await openTiny("f16-weights", { dtype: "float32" }),
  ];
  expect(half.weights.bytes).toBeLessThan(0.6 * wide.weights.bytes);
  const inputIds = [[1, 5, 9, 13]];
  expect(await half.forward({ inputIds })).toEqual(await wide.forward({ inputIds }));
  await half.dispose();
  await wide.dispose();
});

it("rows do not see each other", async () => {
  const model = await openTiny("base");
  const together = (await model.forward(batchOf([rows[0], [...rows[1], 0, 0, 0]]))).logits.data;
  const alone = (await model.forward(batchOf([rows[0]]))).logits.data;
  expect(arrayDifference(together.slice(0, alone.length), alone)).toBeLessThan(1e-5);
  await model.dispose();
});
