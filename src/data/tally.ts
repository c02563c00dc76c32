// The counts of a dataset as it is read: what there is, what was cut and what was left out.

import type { PixelValues } from "../engine/batch.ts";
import { imageTokensOf, type Sample, targetsOf } from "./sample.ts";
import { type Truncated, tooLong } from "./truncate.ts";

export interface LengthBucket {
  /** Samples of at most this many tokens, and more than the bucket before. */
  readonly upTo: number;
  readonly samples: number;
}

/** Images of samples, and what they take. */
export interface ImageCounts {
  readonly images: number;
  /** Of these, files that differ: each is encoded for itself. */
  readonly files: number;
  /** Tokens of all of them, of the one that takes the fewest, and of the one that takes the most. */
  readonly tokens: number;
  readonly least: number;
  readonly most: number;
  /** Pixels of a square's side. */
  readonly side: number;
  /** What the encoder looks at one by one: squares of images, and views of the whole. */
  readonly squares: number;
  /** The same of files that differ. */
  readonly fileSquares: number;
  /** The squares of the sample that has the most. */
  readonly sampleSquares: number;
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
  /** The longest record, before any cut; how many of its tokens are for images, where there are any. */
  readonly longest: {
    readonly tokens: number;
    readonly imageTokens?: number;
    readonly where: string;
  };
  /** Where samples have images. */
  readonly images?: ImageCounts;
  /** How long the samples are, in powers of two. */
  readonly lengths: readonly LengthBucket[];
}

class ImageTally {
  readonly #seen = new Set<PixelValues>();
  #counts = {
    images: 0,
    files: 0,
    tokens: 0,
    least: Number.POSITIVE_INFINITY,
    most: 0,
    side: 0,
    squares: 0,
    fileSquares: 0,
    sampleSquares: 0,
  };

  add({ images = [] }: Sample): void {
    const counts = this.#counts;
    let ofSample = 0;
    for (const { start, end, pixelValues } of images) {
      const [squares = 0, , side = 0] = pixelValues.shape;
      counts.side = side;
      const tokens = end - start;
      counts.images++;
      counts.tokens += tokens;
      counts.least = Math.min(counts.least, tokens);
      counts.most = Math.max(counts.most, tokens);
      counts.squares += squares;
      ofSample += squares;
      if (this.#seen.has(pixelValues)) continue;
      this.#seen.add(pixelValues);
      counts.files++;
      counts.fileSquares += squares;
    }
    counts.sampleSquares = Math.max(counts.sampleSquares, ofSample);
  }

  counts(): ImageCounts | undefined {
    return this.#counts.images > 0 ? { ...this.#counts } : undefined;
  }
}

/** Counts records one by one, and remembers those that truncation refused. */
export class Tally {
  readonly #sums = { records: 0, samples: 0, tokens: 0, targets: 0 };
  readonly #outcomes = { kept: 0, cut: 0, split: 0, dropped: 0, untargeted: 0, refused: 0 };
  readonly #buckets: number[] = [];
  #longest: DatasetCounts["longest"] = { tokens: 0, where: "" };
  readonly #images = new ImageTally();
  #limit = 0;

  /** @param record what was read, before and after truncation to `limit` tokens */
  add(record: Truncated & { readonly whole: Sample; readonly limit: number }): void {
    const { whole, outcome, samples, limit } = record;
    if (outcome === "refused") this.#limit = limit;
    this.#sums.records++;
    this.#outcomes[outcome]++;
    const tokens = whole.inputIds.length;
    if (tokens > this.#longest.tokens) {
      const imageTokens = imageTokensOf(whole);
      this.#longest = { tokens, ...(imageTokens > 0 && { imageTokens }), where: whole.where };
    }
    for (const sample of samples) {
      const { inputIds } = sample;
      this.#sums.samples++;
      this.#sums.tokens += inputIds.length;
      this.#sums.targets += targetsOf(sample);
      this.#images.add(sample);
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
    const images = this.#images.counts();
    return {
      ...this.#sums,
      truncated: cut,
      split,
      dropped,
      untargeted,
      longest: this.#longest,
      ...(images && { images }),
      lengths,
    };
  }

  /** @throws TunesmithError (data) if a sample was refused; the longest one is named. */
  throwRefused(): void {
    const count = this.#outcomes.refused;
    if (count > 0) throw tooLong({ count, longest: this.#longest }, this.#limit);
  }
}
