// The counts of a dataset as it is read: what there is, what was cut and what was left out.

import { type Sample, targetsOf } from "./sample.ts";
import { type Truncated, tooLong } from "./truncate.ts";

export interface LengthBucket {
  /** Samples of at most this many tokens, and more than the bucket before. */
  readonly upTo: number;
  readonly samples: number;
}

export interface DatasetCounts {
  /** Records read. */
  readonly records: number;
  /** Samples trained on; a split record gives several. */
  readonly samples: number;
  readonly tokens: number;
  /** Tokens trained on. */
  readonly targets: number;
  /** Records cut at the maximum length. */
  readonly truncated: number;
  /** Records cut into several samples. */
  readonly split: number;
  /** Records left out because they are too long. */
  readonly dropped: number;
  /** Records left out because no token of them is trained on. */
  readonly untargeted: number;
  /** The longest record, before any cut. */
  readonly longest: { readonly tokens: number; readonly where: string };
  /** How long the samples are, in powers of two. */
  readonly lengths: readonly LengthBucket[];
}

/** Counts records one by one, and remembers those that truncation refused. */
export class Tally {
  readonly #sums = { records: 0, samples: 0, tokens: 0, targets: 0 };
  readonly #outcomes = { kept: 0, cut: 0, split: 0, dropped: 0, untargeted: 0, refused: 0 };
  readonly #buckets: number[] = [];
  #longest = { tokens: 0, where: "" };
  #limit = 0;

  /** @param record what was read, before and after truncation to `limit` tokens */
  add(record: Truncated & { readonly whole: Sample; readonly limit: number }): void {
    const { whole, outcome, samples, limit } = record;
    if (outcome === "refused") this.#limit = limit;
    this.#sums.records++;
    this.#outcomes[outcome]++;
    const tokens = whole.inputIds.length;
    if (tokens > this.#longest.tokens) this.#longest = { tokens, where: whole.where };
    for (const sample of samples) {
      const { inputIds } = sample;
      this.#sums.samples++;
      this.#sums.tokens += inputIds.length;
      this.#sums.targets += targetsOf(sample);
      const bucket = Math.ceil(Math.log2(inputIds.length));
      this.#buckets[bucket] = (this.#buckets[bucket] ?? 0) + 1;
    }
  }

  counts(): DatasetCounts {
    const { cut, split, dropped, untargeted } = this.#outcomes;
    const first = this.#buckets.findIndex((samples) => samples > 0);
    const lengths = Array.from(this.#buckets.slice(Math.max(0, first)), (samples, index) => ({
      upTo: 2 ** (first + index),
      samples: samples ?? 0,
    }));
    return {
      ...this.#sums,
      truncated: cut,
      split,
      dropped,
      untargeted,
      longest: this.#longest,
      lengths,
    };
  }

  /** @throws TunesmithError (data) if a sample was refused; the longest one is named. */
  throwRefused(): void {
    const count = this.#outcomes.refused;
    if (count > 0) throw tooLong({ count, longest: this.#longest }, this.#limit);
  }
}
