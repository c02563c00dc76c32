import { expect, it } from "vitest";
import type { BatchSource } from "../data/batch-source.ts";
import type { Batch } from "../engine/batch.ts";
import { countTokensOf, readGroups } from "./batch-groups.ts";

/** Batches whose first token tells epoch and place. */
function countingSource(batches: number, label = 7): BatchSource {
  return {
    async *epoch(index, skip = 0) {
      for (let i = skip; i < batches; i++)
        yield { inputIds: [[index * 100 + i, 1]], labels: [[-100, label]] };
    },
  };
}

async function take(groups: ReturnType<typeof readGroups>, count: number) {
  const taken: [ids: number[], endsEpoch: boolean][] = [];
  while (taken.length < count) {
    const { value } = await groups.next();
    taken.push([value.batches.map((batch: Batch) => batch.inputIds[0]![0]!), value.endsEpoch]);
  }
  await groups.return(undefined as never);
  return taken;
}

it("fills groups in order and ends an epoch with what is left", async () => {
  const groups = readGroups(countingSource(5), 2, { epoch: 0, batch: 0 });
  expect(await take(groups, 4)).toEqual([
    [[0, 1], false],
    [[2, 3], false],
    [[4], true],
    [[100, 101], false],
  ]);
});

it("knows the end of an epoch that its groups fill exactly", async () => {
  const groups = readGroups(countingSource(4), 2, { epoch: 0, batch: 0 });
  expect((await take(groups, 2)).map(([, endsEpoch]) => endsEpoch)).toEqual([false, true]);
});

it("continues in the middle of an epoch", async () => {
  const groups = readGroups(countingSource(5), 2, { epoch: 3, batch: 4 });
  expect(await take(groups, 2)).toEqual([
    [[304], true],
    [[400, 401], false],
  ]);
});

it("refuses data with nothing to learn instead of going round for ever", async () => {
  for (const source of [countingSource(0), countingSource(3, -100)]) {
    const groups = readGroups(source, 2, { epoch: 0, batch: 0 });
    await expect(take(groups, 10)).rejects.toThrow("must hold something to learn");
  }
});

it("counts the tokens that are not padding", () => {
  const inputIds = [
    [1, 2, 3],
    [4, 5, 0],
  ];
  expect(countTokensOf({ inputIds })).toBe(6);
  const mask = [
    [1, 1, 1],
    [1, 1, 0],
  ];
  expect(countTokensOf({ inputIds, attentionMask: mask })).toBe(5);
  expect(
    countTokensOf({
      inputIds,
      segmentIds: [
        [1, 1, 2],
        [1, 0, 0],
      ],
    }),
  ).toBe(4);
});
