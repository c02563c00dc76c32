// Samples in memory at eight bytes a token instead of the sixteen of two arrays of numbers.

import type { Sample } from "./sample.ts";

/** Samples by index, with their lengths at hand for planning batches. */
export interface SampleList {
  readonly lengths: ArrayLike<number>;
  get(index: number): Sample;
}

/** A growing list of samples. */
export class SampleStore implements SampleList {
  readonly lengths: number[] = [];
  #starts: number[] = [];
  /** What is not one number a token, but for positions, which few samples have. */
  #rest: Omit<Sample, "inputIds" | "labels">[] = [];
  #tokens = new Int32Array(2 ** 16);
  #labels = new Int32Array(2 ** 16);
  #used = 0;

  get size(): number {
    return this.lengths.length;
  }

  add({ inputIds, labels, ...rest }: Sample): void {
    this.#reserve(this.#used + inputIds.length);
    this.#tokens.set(inputIds, this.#used);
    this.#labels.set(labels, this.#used);
    this.#starts.push(this.#used);
    this.lengths.push(inputIds.length);
    this.#rest.push(rest);
    this.#used += inputIds.length;
  }

  get(index: number): Sample {
    const start = this.#starts[index];
    if (start === undefined) throw new RangeError(`no sample ${index} among ${this.size}`);
    const end = start + this.lengths[index]!;
    const inputIds = Array.from(this.#tokens.subarray(start, end));
    const labels = Array.from(this.#labels.subarray(start, end));
    return { inputIds, labels, ...this.#rest[index]! };
  }

  *[Symbol.iterator](): Generator<Sample> {
    for (let index = 0; index < this.size; index++) yield this.get(index);
  }

  #reserve(length: number): void {
    if (length <= this.#tokens.length) return;
    const capacity = Math.max(length, this.#tokens.length * 2);
    const tokens = new Int32Array(capacity);
    tokens.set(this.#tokens);
    this.#tokens = tokens;
    const labels = new Int32Array(capacity);
    labels.set(this.#labels);
    this.#labels = labels;
  }
}
