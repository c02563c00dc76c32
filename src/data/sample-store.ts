// Samples in memory at five bytes a token instead of the sixteen of two arrays of numbers.

import { IGNORED_LABEL } from "../engine/batch.ts";
import type { Sample } from "./sample.ts";

/** Samples by index, with their lengths at hand for planning batches. */
export interface SampleList {
  readonly lengths: ArrayLike<number>;
  get(index: number): Sample;
}

/** A growing list of samples. A label is either the token itself or -100, so a bit's worth is kept. */
export class SampleStore implements SampleList {
  readonly lengths: number[] = [];
  #starts: number[] = [];
  #where: string[] = [];
  #rowLabels: Sample["rowLabel"][] = [];
  #pixelValues: Sample["pixelValues"][] = [];
  #tokens = new Int32Array(2 ** 16);
  #trained = new Uint8Array(2 ** 16);
  #used = 0;

  get size(): number {
    return this.lengths.length;
  }

  add({ inputIds, labels, rowLabel, pixelValues, where }: Sample): void {
    this.#reserve(this.#used + inputIds.length);
    this.#tokens.set(inputIds, this.#used);
    for (const [position, label] of labels.entries())
      this.#trained[this.#used + position] = label === IGNORED_LABEL ? 0 : 1;
    this.#starts.push(this.#used);
    this.lengths.push(inputIds.length);
    this.#where.push(where);
    this.#rowLabels.push(rowLabel);
    this.#pixelValues.push(pixelValues);
    this.#used += inputIds.length;
  }

  get(index: number): Sample {
    const start = this.#starts[index];
    if (start === undefined) throw new RangeError(`no sample ${index} among ${this.size}`);
    const inputIds = Array.from(this.#tokens.subarray(start, start + this.lengths[index]!));
    const labels = inputIds.map((id, position) =>
      this.#trained[start + position] === 1 ? id : IGNORED_LABEL,
    );
    const rowLabel = this.#rowLabels[index];
    const pixelValues = this.#pixelValues[index];
    return {
      inputIds,
      labels,
      ...(rowLabel && { rowLabel }),
      ...(pixelValues && { pixelValues }),
      where: this.#where[index]!,
    };
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
    const trained = new Uint8Array(capacity);
    trained.set(this.#trained);
    this.#trained = trained;
  }
}
