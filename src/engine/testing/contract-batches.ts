// The batches of the contract's checks: two samples, side by side with padding, or in one row; with a
// picture in each for models that look at them.

import { createRandom } from "../../runtime/random.ts";
import { type Batch, IGNORED_LABEL, type PixelValues } from "../batch.ts";
import { randomRows, type TinyModel } from "./tiny-models.ts";

export const rows = randomRows([9, 6], 3) as [number[], number[]];

export interface ContractBatches {
  /** Side by side, the shorter one padded. */
  readonly batch: Batch;
  /** In one row. */
  readonly packed: Batch;
  /** Each in a batch of its own, the longer one first. */
  readonly alone: readonly [Batch, Batch];
}

/** The image token of the tiny models that look at images, and how many a picture has. */
const IMAGE = { token: 96, count: 4, shape: [1, 3, 16, 16] };

const TEXTS = batchesOf(rows);
export const { batch } = TEXTS;

/** The samples with a picture behind the first token of each. */
const PICTURES = batchesOf(
  rows.map((row) => row.map((id, at) => (at > 0 && at <= IMAGE.count ? IMAGE.token : id))),
  rows.map((_, index) => pictureOf(index)),
);

/** What a model's contract is checked with. */
export const contractBatches = (tiny: TinyModel): ContractBatches =>
  tiny === "idefics3" || tiny === "smolvlm" ? PICTURES : TEXTS;

function pictureOf(index: number): PixelValues {
  const random = createRandom(index).fork("picture");
  const data = Float32Array.from({ length: 768 }, () => 2 * random.uniform() - 1);
  return { data, shape: IMAGE.shape };
}

function batchesOf(
  [long = [], short = []]: readonly (readonly number[])[],
  pictures: readonly PixelValues[] = [],
): ContractBatches {
  const all = pictures.length > 0 && { pixelValues: pictures };
  const labels = (row: readonly number[]) =>
    row.map((id) => (id === IMAGE.token && all ? IGNORED_LABEL : id));
  const alone = (row: readonly number[], index: number): Batch => ({
    inputIds: [row],
    labels: [labels(row)],
    ...(all && { pixelValues: [pictures[index]!] }),
  });
  return {
    alone: [alone(long, 0), alone(short, 1)],
    batch: {
      inputIds: [long, [...short, 0, 0, 0]],
      labels: [labels(long), [...labels(short), -100, -100, -100]],
      attentionMask: [long.map(() => 1), [1, 1, 1, 1, 1, 1, 0, 0, 0]],
      ...all,
    },
    packed: {
      inputIds: [[...long, ...short]],
      labels: [[...labels(long), -100, ...labels(short).slice(1)]],
      segmentIds: [[...long.map(() => 1), ...short.map(() => 2)]],
      positionIds: [[...long.keys(), ...short.keys()]],
      ...all,
    },
  };
}
