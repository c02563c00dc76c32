// A small honest model for tests of the loop: embedding, dropout, linear head, softmax; with exact
// gradients in plain arithmetic, so that losses really fall and every bit of a run can be compared.

import { join } from "node:path";
import type { BatchSource } from "../../data/batch-source.ts";
import { type Batch, IGNORED_LABEL } from "../../engine/batch.ts";
import type { GradientOptions, LossSum, Model, Parameter } from "../../engine/model.ts";
import { writeFileAtomically } from "../../hub/atomic-file.ts";
import { writeSafetensors } from "../../hub/safetensors/safetensors-writer.ts";
import { createRandom } from "../../runtime/random.ts";

const VOCABULARY = 11;
const WIDTH = 6;
const DROPOUT = 0.1;

/** P(next | token) = softmax(head · dropout(embedding[token]) + bias). */
export function createToyModel(seed = 1): Model {
  const random = createRandom(seed).uniform;
  const parameter = (name: string, shape: number[], spread: number): Parameter => {
    const size = shape.reduce((product, length) => product * length, 1);
    const data = Float32Array.from({ length: size }, () => (random() - 0.5) * spread);
    return { name, shape, data, gradient: new Float32Array(size) };
  };
  const embedding = parameter("embedding.weight", [VOCABULARY, WIDTH], 1);
  const head = parameter("head.weight", [VOCABULARY, WIDTH], 1);
  const bias = parameter("head.bias", [VOCABULARY], 0);
  const parameters = [embedding, head, bias];

  /** Calls back for every target with its logits, its hidden vector and the dropout mask. */
  function visit(
    batch: Batch,
    seedOfDropout: number | undefined,
    each: (logits: number[], hidden: number[], mask: number[], token: number, next: number) => void,
  ): void {
    const drop = seedOfDropout === undefined ? undefined : createRandom(seedOfDropout).uniform;
    for (const [row, ids] of batch.inputIds.entries())
      for (let position = 0; position + 1 < ids.length; position++) {
        const next = batch.labels?.[row]?.[position + 1] ?? IGNORED_LABEL;
        if (next === IGNORED_LABEL) continue;
        const token = ids[position]!;
        const mask = Array.from({ length: WIDTH }, () =>
          drop ? (drop() < DROPOUT ? 0 : 1 / (1 - DROPOUT)) : 1,
        );
        const hidden = mask.map((keep, i) => keep * embedding.data[token * WIDTH + i]!);
        each(logitsOf(hidden), hidden, mask, token, next);
      }
  }

  function logitsOf(hidden: readonly number[]): number[] {
    return Array.from({ length: VOCABULARY }, (_, id) =>
      hidden.reduce((sum, h, i) => sum + h * head.data[id * WIDTH + i]!, bias.data[id]!),
    );
  }

  return {
    parameters,
    async accumulateGradients(batch, { scale, seed: dropoutSeed }: GradientOptions) {
      const sum = { lossSum: 0, tokenCount: 0 };
      visit(batch, dropoutSeed, (logits, hidden, mask, token, next) => {
        const probabilities = softmax(logits);
        addLoss(sum, probabilities, next);
        for (let id = 0; id < VOCABULARY; id++) {
          const error = (probabilities[id]! - (id === next ? 1 : 0)) * scale;
          bias.gradient[id]! += error;
          for (let i = 0; i < WIDTH; i++) {
            head.gradient[id * WIDTH + i]! += error * hidden[i]!;
            embedding.gradient[token * WIDTH + i]! += error * head.data[id * WIDTH + i]! * mask[i]!;
          }
        }
      });
      return sum;
    },
    async evaluateLoss(batch) {
      const sum = { lossSum: 0, tokenCount: 0 };
      visit(batch, undefined, (logits, _hidden, _mask, _token, next) =>
        addLoss(sum, softmax(logits), next),
      );
      return sum;
    },
    async forward(batch) {
      const rows = batch.inputIds.map((ids) =>
        ids.map((token) =>
          logitsOf([...embedding.data.subarray(token * WIDTH, (token + 1) * WIDTH)]),
        ),
      );
      const shape = [rows.length, rows[0]?.length ?? 0, VOCABULARY];
      return { logits: { data: Float32Array.from(rows.flat(2)), shape } };
    },
    async saveAdapter(directory) {
      const tensors = parameters.map((p) => ({ ...p, dtype: "F32" as const }));
      await writeSafetensors(join(directory, "adapter_model.safetensors"), tensors);
      await writeFileAtomically(join(directory, "adapter_config.json"), '{ "peft_type": "TOY" }\n');
    },
    async dispose() {},
  };
}

function softmax(logits: readonly number[]): number[] {
  const highest = Math.max(...logits);
  const powers = logits.map((logit) => Math.exp(logit - highest));
  const total = powers.reduce((sum, power) => sum + power, 0);
  return powers.map((power) => power / total);
}

function addLoss(
  sum: { -readonly [Key in keyof LossSum]: LossSum[Key] },
  probabilities: readonly number[],
  next: number,
): void {
  sum.lossSum -= Math.log(probabilities[next]!);
  sum.tokenCount++;
}

export interface ToyDataOptions {
  readonly batches?: number;
  readonly rows?: number;
  readonly seed?: number;
  /** Hide the length of an epoch, as a streamed source does. */
  readonly streamed?: boolean;
}

/**
 * Batches of a noisy counting rule (mostly, 3 times the token plus 1), of varying length and padded,
 * in another order in every epoch.
 */
export function createToyData(options: ToyDataOptions = {}): BatchSource {
  const { batches = 7, rows = 3, seed = 5, streamed = false } = options;
  const random = createRandom(seed).uniform;
  const all = Array.from({ length: batches }, () => toyBatch(random, rows));
  return {
    ...(streamed ? {} : { batchesPerEpoch: batches }),
    async *epoch(index, skip = 0) {
      yield* createRandom([seed, index])
        .shuffle([...all])
        .slice(skip);
    },
  };
}

function toyBatch(random: () => number, rows: number): Batch {
  const lengths = Array.from({ length: rows }, () => 3 + Math.floor(random() * 6));
  const longest = Math.max(...lengths);
  const inputIds = lengths.map((length) => {
    const ids = [Math.floor(random() * VOCABULARY)];
    while (ids.length < length)
      ids.push(
        random() < 0.15 ? Math.floor(random() * VOCABULARY) : (ids.at(-1)! * 3 + 1) % VOCABULARY,
      );
    return [...ids, ...new Array<number>(longest - length).fill(0)];
  });
  const real = (row: number, at: number) => at < lengths[row]!;
  return {
    inputIds,
    attentionMask: inputIds.map((ids, row) => ids.map((_, at) => (real(row, at) ? 1 : 0))),
    labels: inputIds.map((ids, row) => ids.map((id, at) => (real(row, at) ? id : IGNORED_LABEL))),
  };
}
