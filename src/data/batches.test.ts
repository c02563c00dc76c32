import { describe, expect, it } from "vitest";
import { type Batch, countTargets, IGNORED_LABEL } from "../engine/batch.ts";
import { createRandom } from "../runtime/random.ts";
import type { BatchSource } from "./batch-source.ts";
import { type BatchOptions, batchesFromMemory, batchesFromStream } from "./batches.ts";
import { collate, paddedLength } from "./collate.ts";
import { type Sample, targetsOf } from "./sample.ts";
import { SampleStore } from "./sample-store.ts";

// Every token of every sample is a different id, so that a token names its sample and its place.
const random = createRandom(9);
const samples: Sample[] = [];
let next = 1;
for (let i = 0; i < 300; i++) {
  const inputIds = Array.from({ length: 2 + random.below(60) }, () => next++);
  const prompt = random.below(inputIds.length - 1);
  const labels = inputIds.map((id, at) => (at >= prompt ? id : IGNORED_LABEL));
  samples.push({ inputIds, labels, where: `train.jsonl:${i + 1}` });
}

const store = new SampleStore();
for (const sample of samples) store.add(sample);

const options: BatchOptions = {
  batchSize: 4,
  maxLength: 100,
  packing: false,
  bucketing: true,
  shuffle: true,
  seed: 5,
  padTokenId: 0,
};

async function all(source: BatchSource, epoch = 0, skip?: number): Promise<Batch[]> {
  const batches: Batch[] = [];
  for await (const batch of source.epoch(epoch, skip)) batches.push(batch);
  return batches;
}

const stream = (changed: Partial<BatchOptions> = {}, window = { samples: 64 }) =>
  batchesFromStream(
    async function* () {
      yield* samples;
    },
    { ...options, ...changed },
    window,
  );
const memory = (changed: Partial<BatchOptions> = {}) =>
  batchesFromMemory(store, { ...options, ...changed });

/** (token, label, position) of every real token, by token; the loss never reads a row's first label. */
function triples(batches: Batch[]): string[] {
  const seen: [number, number, number][] = [];
  for (const { inputIds, labels, positionIds, segmentIds, attentionMask } of batches)
    for (const [row, ids] of inputIds.entries())
      for (const [at, id] of ids.entries()) {
        if (!attentionMask![row]![at]) continue;
        const first = at === 0 || (segmentIds && segmentIds[row]![at] !== segmentIds[row]![at - 1]);
        const label = first ? IGNORED_LABEL : labels![row]![at]!;
        seen.push([id, label, positionIds ? positionIds[row]![at]! : at]);
      }
  return seen.sort((a, b) => a[0] - b[0]).map((triple) => triple.join(" "));
}

const expectedTriples = samples.flatMap(({ inputIds, labels }) =>
  inputIds.map((id, at) => `${id} ${at === 0 ? IGNORED_LABEL : labels[at]} ${at}`),
);
const expectedTargets = samples.reduce((sum, sample) => sum + targetsOf(sample), 0);

describe.each([
  ["memory", memory],
  ["stream", stream],
])("batches from %s", (_, make) => {
  it.each([false, true])(
    "hold every token, label and position once (packing: %s)",
    async (packing) => {
      for (const shuffle of [true, false]) {
        const batches = await all(make({ packing, shuffle }));
        expect(triples(batches)).toEqual(expectedTriples);
        const targets = batches.reduce((sum, { labels }) => sum + countTargets(labels!), 0);
        expect(targets).toBe(expectedTargets);
      }
    },
  );

  it.each([false, true])("are the same after a skip as without (packing: %s)", async (packing) => {
    const source = make({ packing });
    const whole = await all(source, 2);
    for (const skip of [1, 7, whole.length - 1, whole.length])
      expect(await all(source, 2, skip)).toEqual(whole.slice(skip));
  });

  it("are the same for a seed and an epoch, others for other ones", async () => {
    expect(await all(make(), 1)).toEqual(await all(make(), 1));
    expect(await all(make(), 1)).not.toEqual(await all(make(), 0));
    expect(await all(make({ seed: 6 }), 1)).not.toEqual(await all(make(), 1));
    expect(await all(make({ shuffle: false }), 1)).toEqual(await all(make({ shuffle: false }), 0));
  });

  it("keep the order of the samples without shuffle and bucketing", async () => {
    const batches = await all(make({ shuffle: false, bucketing: false }));
    const ids = batches.flatMap(({ inputIds }) => inputIds.map((row) => row[0]));
    expect(ids).toEqual(samples.map(({ inputIds }) => inputIds[0]));
  });

  it("have full batches but for the last", async () => {
    for (const packing of [false, true]) {
      const batches = await all(make({ packing }));
      expect(batches.slice(0, -1).every(({ inputIds }) => inputIds.length === 4)).toBe(true);
    }
  });
});

it("counts the batches of every epoch", async () => {
  for (const packing of [false, true]) {
    const source = memory({ packing });
    for (const epoch of [0, 1, 2])
      expect(await all(source, epoch)).toHaveLength(source.batchesPerEpoch!);
  }
  expect(stream().batchesPerEpoch).toBeUndefined();
});

it("never holds more than a window of a stream", async () => {
  let ahead = 0;
  let taken = 0;
  const source = batchesFromStream(
    async function* () {
      for (const sample of samples) {
        ahead = Math.max(ahead, ++taken);
        yield sample;
      }
    },
    { ...options, shuffle: true },
    { samples: 1000, tokens: 500 },
  );
  let given = 0;
  let most = 0;
  for await (const batch of source.epoch(0)) {
    given += batch.attentionMask!.flat().filter((value) => value === 1).length;
    most = Math.max(
      most,
      samples.slice(0, taken).reduce((n, s) => n + s.inputIds.length, 0) - given,
    );
  }
  expect(ahead).toBe(samples.length);
  expect(most).toBeLessThan(500 + 2 * 60 * 4);
});

describe("collate", () => {
  const short: Sample = { inputIds: [7, 8, 9], labels: [7, 8, 9], where: "" };
  const shorter: Sample = { inputIds: [5, 6], labels: [-100, 6], where: "" };
  const pad = <T>(fill: T, values: T[], width = 16) => [
    ...values,
    ...new Array<T>(width - values.length).fill(fill),
  ];

  it("pads on the right to a multiple of 16", () => {
    expect(collate([[short], [shorter]], { maxLength: 64, packing: false, padTokenId: 2 })).toEqual(
      {
        inputIds: [pad(2, [7, 8, 9]), pad(2, [5, 6])],
        attentionMask: [pad(0, [1, 1, 1]), pad(0, [1, 1])],
        labels: [pad(-100, [7, 8, 9]), pad(-100, [-100, 6])],
      },
    );
  });

  it("packs with segments from 1, positions from 0 and no target at a segment's start", () => {
    expect(collate([[short, shorter]], { maxLength: 64, packing: true, padTokenId: 2 })).toEqual({
      inputIds: [pad(2, [7, 8, 9, 5, 6])],
      attentionMask: [pad(0, [1, 1, 1, 1, 1])],
      labels: [pad(-100, [-100, 8, 9, -100, 6])],
      positionIds: [pad(0, [0, 1, 2, 0, 1])],
      segmentIds: [pad(0, [1, 1, 1, 2, 2])],
    });
  });

  it("never pads past the maximum length", () => {
    expect([1, 16, 17, 97, 100].map((length) => paddedLength(length, 100))).toEqual([
      16, 16, 32, 100, 100,
    ]);
  });
});

it("a sample store gives back what was put in", () => {
  expect([...store]).toEqual(samples);
  expect(store.get(299)).toEqual(samples[299]);
  expect(() => store.get(300)).toThrow(RangeError);
});
