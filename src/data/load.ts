// From the options of a recipe to batches: the one entry for the layers above. Small data is read once
// into memory; large data is read anew each epoch and never held whole.

import { TunesmithError } from "../errors.ts";
import type { Tokenizer } from "../hub/index.ts";
import type { BatchSource } from "./batch-source.ts";
import { type BatchOptions, batchesFromMemory, batchesFromStream } from "./batches.ts";
import type { FormatName } from "./formats.ts";
import { createPipeline, type Pipeline, type PipelineOptions, type Side } from "./pipeline.ts";
import { type DatasetSide, findFiles, type ResolveDataset, totalSize } from "./read.ts";
import type { Sample } from "./sample.ts";
import { SampleStore } from "./sample-store.ts";
import { checkHoldOut, holdOutBound } from "./split.ts";
import { type DatasetCounts, Tally } from "./tally.ts";
import type { EncodeChat } from "./tokenize.ts";

export interface DatasetOptions extends PipelineOptions {
  /** Files, folders or hub datasets. */
  readonly train: string | readonly string[];
  /** A share (0.1) or number of training examples to hold out, or files of their own. 0: none. */
  readonly eval?: number | string | readonly string[] | undefined;
  readonly packing?: boolean | undefined;
  /** Rows in a batch. */
  readonly batchSize: number;
  /** Default true. Without it, samples come in the order of the files. */
  readonly shuffle?: boolean | undefined;
  /** "auto", the default: files of more than STREAMING_SIZE bytes together. */
  readonly streaming?: boolean | "auto" | undefined;
  /** Downloads a hub dataset; without it only paths are understood. */
  readonly resolve?: ResolveDataset | undefined;
}

export interface DatasetReport extends DatasetCounts {
  readonly files: readonly string[];
  readonly format: FormatName;
  readonly streaming: boolean;
  /** False when streaming: the counts are then those of the first records only. */
  readonly complete: boolean;
  /** Counts of the held-out side; of its first records only where it streams. */
  readonly eval?: DatasetCounts;
  /** Records of evaluation files that the training data holds too: they flatter the metric. */
  readonly evalInTrain: number;
  /** Where whole texts are judged: what is trained on is one label each, no share of the tokens. */
  readonly judged?: true;
}

export interface Dataset {
  readonly train: BatchSource;
  readonly eval?: BatchSource;
  readonly report: DatasetReport;
  /** The training samples in the order of the files, to be looked at. */
  samples(): AsyncIterable<Sample>;
}

/** Files of more than this many bytes together are streamed: tokenising them first would take minutes. */
const STREAMING_SIZE = 256 * 2 ** 20;

/** Records of a stream that are looked at before training begins. */
const PROBED_RECORDS = 1000;

/**
 * Reads, formats, tokenises and batches a dataset.
 *
 *     const data = await loadDataset(
 *       { train: "train.jsonl", eval: 0.1, maxLength: 512, batchSize: 4, seed: 0 },
 *       tokenizer,
 *       encodeChat,
 *     );
 *     for await (const batch of data.train.epoch(0)) …
 *
 * @throws TunesmithError (data, config) for faults of files, records and options, and for data that
 *   leaves nothing to train on.
 */
export async function loadDataset(
  options: DatasetOptions,
  tokenizer: Tokenizer,
  encodeChat: EncodeChat,
): Promise<Dataset> {
  const pipeline = createPipeline(options, tokenizer, encodeChat);
  const sides = await chooseSides(options, pipeline);
  const trainBatches: BatchOptions = {
    batchSize: options.batchSize,
    maxLength: options.maxLength,
    packing: options.packing ?? false,
    bucketing: options.shuffle ?? true,
    shuffle: options.shuffle ?? true,
    seed: options.seed,
    padTokenId: tokenizer.padTokenId ?? tokenizer.eosTokenId ?? 0,
  };
  const evalBatches = { ...trainBatches, shuffle: false, bucketing: true };

  const train = await openSide(sides.train, pipeline, trainBatches);
  const held = sides.eval && (await openSide(sides.eval, pipeline, evalBatches));
  const { train: trainSide } = sides;
  return {
    train: train.batches,
    ...(held && { eval: held.batches }),
    report: {
      ...train.counts,
      files: trainSide.files,
      format: train.format,
      streaming: trainSide.streamed,
      complete: !trainSide.streamed,
      ...(held && { eval: held.counts }),
      evalInTrain: held ? held.hashes.filter((hash) => train.hashSet.has(hash)).length : 0,
      ...(options.readLabel && { judged: true as const }),
    },
    samples: () => train.samples(),
  };
}

interface PlacedSide extends Side {
  readonly streamed: boolean;
}

interface Sides {
  readonly train: PlacedSide;
  readonly eval?: PlacedSide;
}

/** Which records are trained on and which evaluated, and which of the two sides fit into memory. */
async function chooseSides(options: DatasetOptions, pipeline: Pipeline): Promise<Sides> {
  const { eval: held = 0, streaming = "auto", resolve } = options;
  if (typeof held === "number" && held !== 0) checkHoldOut(held);
  const place = async (source: string | readonly string[], side: DatasetSide) => {
    const files = await findFiles(source, resolve, side);
    const large = streaming === "auto" ? (await totalSize(files)) > STREAMING_SIZE : streaming;
    return { files, streamed: large, accepts: () => true };
  };

  const train = await place(options.train, "train");
  if (typeof held !== "number") return { train, eval: await place(held, "eval") };
  if (held === 0) return { train };

  // A share of a stream needs no pass over it: hashes are spread evenly.
  const bound = train.streamed && held < 1 ? held : await boundOf(train, held, pipeline);
  return {
    train: { ...train, accepts: (hash) => hash >= bound },
    eval: {
      files: train.files,
      streamed: train.streamed && held < 1,
      accepts: (hash) => hash < bound,
    },
  };
}

async function boundOf(side: Side, amount: number, pipeline: Pipeline): Promise<number> {
  const hashes: number[] = [];
  for await (const hash of pipeline.hashes(side.files)) hashes.push(hash);
  if (hashes.length === 0) throw noRecords(side);
  return holdOutBound(hashes, amount);
}

interface OpenedSide {
  readonly batches: BatchSource;
  readonly counts: DatasetCounts;
  readonly format: FormatName;
  readonly hashes: readonly number[];
  readonly hashSet: ReadonlySet<number>;
  samples(): AsyncIterable<Sample>;
}

async function openSide(
  side: PlacedSide,
  pipeline: Pipeline,
  batchOptions: BatchOptions,
): Promise<OpenedSide> {
  const store = new SampleStore();
  const tally = new Tally();
  const hashes: number[] = [];
  let format: FormatName | undefined;
  for await (const record of pipeline.process(side)) {
    format = record.format;
    hashes.push(record.hash);
    tally.add(record);
    for (const sample of record.samples) store.add(sample);
    if (side.streamed && hashes.length >= PROBED_RECORDS) break;
  }
  tally.throwRefused();
  const counts = tally.counts();
  if (format === undefined) throw noRecords(side);
  if (counts.samples === 0) throw nothingToTrainOn(side, counts);

  async function* stream(): AsyncGenerator<Sample> {
    for await (const record of pipeline.process(side)) {
      const refusal = new Tally();
      refusal.add(record);
      refusal.throwRefused();
      yield* record.samples;
    }
  }

  return {
    counts,
    format,
    hashes,
    hashSet: new Set(hashes),
    batches: side.streamed
      ? batchesFromStream(stream, batchOptions)
      : batchesFromMemory(store, batchOptions),
    async *samples() {
      yield* side.streamed ? stream() : store;
    },
  };
}

function noRecords(side: Side): TunesmithError {
  return new TunesmithError("data", {
    where: side.files.join(", "),
    rule: "a dataset holds at least one record",
    seen: "none",
    fix: "check that the file was written completely and is the one meant",
  });
}

function nothingToTrainOn(side: Side, counts: DatasetCounts): TunesmithError {
  return new TunesmithError("data", {
    where: side.files.join(", "),
    rule: "at least one record must have a token that is trained on",
    seen: `${counts.records} records, ${counts.dropped} of them too long and dropped, ${counts.untargeted} with nothing to train on`,
    fix: "look at the loss mode (loss: all trains on every token) and the maximum length",
  });
}
