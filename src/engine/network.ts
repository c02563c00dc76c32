// Running a model block by block: forward through all segments, the loss over the rows that have a
// label, and back. One block is in flight at a time, so memory is what was saved plus one block.

import { TunesmithError } from "../errors.ts";
import type { BoundMethod } from "../methods/index.ts";
import type { BoundArchitecture } from "../models/index.ts";
import type { Runtime, Value } from "../runtime/kernel.ts";
import { type BufferPool, createBufferPool, floatData } from "../runtime/values.ts";
import { auxiliaryLoss } from "./auxiliary-loss.ts";
import { type Batch, targetsOfBatch } from "./batch.ts";
import { createBind, type RunValues } from "./bind.ts";
import { type BlockPassed, createBlocks } from "./blocks.ts";
import { padded, roundedLength } from "./decoding/rounded-length.ts";
import { createEntry } from "./entry.ts";
import { createHeadRunner } from "./head/head-runner.ts";
import { checkImages } from "./image-rows.ts";
import { createImageReader, frozenStates, type ImageStates } from "./images.ts";
import { checkBatch, type SharedInputs, sharedInputs } from "./inputs.ts";
import type { GradientOptions, LossSum, NumericArray } from "./model.ts";
import type { ParameterSet } from "./parameters.ts";
import { createPasses, type Part } from "./passes.ts";
import { contextsOf } from "./row-context.ts";
import { checkClassified, checkUnlabelledRows } from "./row-labels.ts";
import {
  gatherRows,
  lastRows,
  paddedRowCount,
  scatterAddRows,
  type TargetRows,
  targetRows,
} from "./rows.ts";
import type { TraceShape } from "./trace.ts";
import { withoutVirtualTokens, withVirtualTokens } from "./virtual-tokens.ts";
import type { WeightStore } from "./weights/weights.ts";

export interface NetworkOptions {
  readonly architecture: BoundArchitecture;
  readonly method?: BoundMethod;
  readonly weights: WeightStore;
  readonly parameters: ParameterSet;
  readonly runtime: Runtime;
  /** "fast" keeps what is costly to make again between forward and backward, "lean" makes it again. */
  readonly memory: "fast" | "lean";
  /** Bytes of logits in memory at once; by default as `memory` suggests. */
  readonly logitBytes?: number;
  /** Memory to share with networks that never run at the same time. */
  readonly pool?: BufferPool;
}

export interface Network {
  /** See `Model`. */
  accumulateGradients(batch: Batch, options: GradientOptions): Promise<LossSum>;
  evaluateLoss(batch: Batch): Promise<LossSum>;
  /** [batch, seq, vocabulary], virtual tokens have none; of a classifier [batch, labels]. */
  logits(batch: Batch): Promise<NumericArray>;
  /**
   * What follows each row, [rows, vocabulary]. Rows may differ in length; what a method averages over
   * a row leaves padding out.
   * @param images [image rows, hidden], what the image tokens of all rows give way to
   */
  nextLogits(rows: readonly (readonly number[])[], images?: Float32Array): Promise<Float32Array>;
  /**
   * Runs a batch without any loss and hands out what hooks report, by name: [batch · seq, width] each,
   * in memory that is used again afterwards. What is not in a whole block is not run.
   */
  report(batch: Batch, visit: (name: string, value: Value) => Promise<void>): Promise<void>;
}

interface TrunkExtras {
  /** Told what hooks report. */
  readonly visit?: (name: string, value: Value) => Promise<void>;
  /** What the batch's pictures are, where that is known already. */
  readonly images?: ImageStates;
}

const LOGIT_BYTES = { fast: 256 * 2 ** 20, lean: 48 * 2 ** 20 } as const;

export function createNetwork(options: NetworkOptions): Network {
  const { architecture, method, memory } = options;
  const weights = withGradients(options.weights);
  const { logitCount, classifier } = architecture;
  const { layers, hiddenSize, vocabularySize } = architecture.dimensions;
  const { pool = createBufferPool() } = options;
  const bind = createBind(weights, options.parameters);
  const logitBytes = options.logitBytes ?? LOGIT_BYTES[memory];
  const parts = { ...options, weights, method, pool, bind };
  const head = createHeadRunner({ ...parts, logitBytes });
  const passes = createPasses(parts);
  const blocks = createBlocks({ ...parts, passes });
  const { enter, leave } = createEntry({ ...parts, passes });
  const imageReader = architecture.images && createImageReader(architecture.images, parts);
  const virtualCount = method?.virtualTokens?.count ?? 0;
  // The last feed-forward needs the rows alone that the loss reads, unless something looks at all.
  const readsWholeRows = method?.readsWholeRows === true;
  const inputOptions = { offset: method?.positionOffset, hidesPadding: method?.mixesPositions };

  /** Runs all layers, but for the last feed-forward where its rows are the caller's choice. */
  const trunk = async (
    batch: Batch,
    shared: SharedInputs,
    run: RunValues,
    training: boolean,
    own: Pick<TraceShape, "skipsPadding" | "isFirstPass"> = {},
    { visit, images: known }: TrunkExtras = {},
  ) => {
    const splitsLast =
      architecture.feedForward !== undefined &&
      !readsWholeRows &&
      !(training && architecture.auxiliaryLoss);
    const { batch: rows, sequence, maskBatch, rotaryLength } = shared;
    const shape: TraceShape = { batch: rows, sequence, maskBatch, training, rotaryLength, ...own };
    const { pixelValues } = batch;
    const images =
      known ?? (pixelValues && (await imageReader?.read(pixelValues, training, run.seed)));
    const entered = await enter(batch.inputIds.flat(), shape, run, images);
    const done: BlockPassed[] = [];
    // Nothing below the first trained tensor needs a gradient.
    let { x, isTrained } = entered;
    for (let layer = 0; layer < layers; layer++) {
      const part: Part = layer === layers - 1 && splitsLast ? "attention" : "block";
      const passed = await blocks.forward(
        { layer, part, shape, rows: rows * sequence, gradients: training, ofInput: isTrained },
        x,
        run,
      );
      isTrained = passed.isTrained;
      for (const { segment, statistics } of passed.reported)
        for (const [i, { name }] of segment.statistics.entries())
          await visit?.(name, statistics[i]!);
      if (training) done.push(passed);
      else passed.forget();
      x = passed.y;
    }
    return { x, isTrained, entered, done, shape, splitsLast };
  };

  /** The last feed-forward, on whichever rows are wanted of the trunk's output. */
  const lastPart = (x: Value, shape: TraceShape, ofInput: boolean, run: RunValues) =>
    blocks.forward(
      {
        layer: layers - 1,
        part: "feedForward",
        shape,
        rows: x.dims[0]!,
        gradients: shape.training,
        ofInput,
      },
      x,
      run,
    );

  /** The wanted rows of `x`, whose memory is used again. */
  const chosenRows = (x: Value, rows: Int32Array, count = rows.length): Value => {
    const chosen = pool.take([count, hiddenSize]);
    gatherRows(floatData(x), rows, hiddenSize, floatData(chosen));
    pool.give(x);
    return chosen;
  };

  /** What hooks may look at of a pass in front of the real one; nothing where none looks. */
  const firstPass = async (batch: Batch, shared: SharedInputs): Promise<RunValues> => {
    if (!method?.readsFirstPass) return { shared: shared.values };
    const run = { shared: shared.values };
    const { x, shape } = await trunk(batch, shared, run, false, { isFirstPass: true });
    const passed = await passes.forward(
      { layer: 0, part: "finalNorm", shape, rows: x.dims[0]!, gradients: false, ofInput: false },
      x,
      run,
    );
    passes.forget(passed);
    return { shared: { ...shared.values, firstStates: passed.y } };
  };
  const forgetFirstPass = ({ shared }: RunValues) => {
    if (shared?.firstStates) pool.give(shared.firstStates);
  };

  const check = (batch: Batch) => {
    checkBatch(batch, vocabularySize);
    checkImages(batch, architecture);
    checkUnpacked(batch, method);
    if (classifier) checkClassified(batch, classifier);
    else checkUnlabelledRows(batch);
  };
  /** The rows whose states logits are made of, with what they are to be. */
  const targetsIn = (batch: Batch): TargetRows => {
    if (!classifier) return targetRows(batch);
    const values = batch.rowLabels?.flat() ?? [];
    const isLabel = classifier.problem === "single_label_classification";
    return {
      rows: lastRows(batch, classifier.padToken),
      labels: isLabel ? Int32Array.from(values) : Float32Array.from(values),
    };
  };

  const lossOf = async (given: Batch, training?: GradientOptions): Promise<LossSum> => {
    check(given);
    if (training) checkTrainable(weights);
    const batch = withVirtualTokens(given, virtualCount);
    const { rows, labels } = targetsIn(batch);
    const tokenCount = targetsOfBatch(batch);
    if (tokenCount === 0) return { lossSum: 0, tokenCount };
    const shared = sharedInputs(batch, architecture, inputOptions);
    const run: RunValues = { ...(await firstPass(batch, shared)), seed: training?.seed };
    const below = await trunk(batch, shared, run, training !== undefined);
    const allRows = below.x.dims;

    const chosen = chosenRows(below.x, rows, paddedRowCount(tokenCount));
    const last = below.splitsLast
      ? await lastPart(chosen, below.shape, below.isTrained, run)
      : undefined;
    const states = last?.y ?? chosen;

    if (!training) {
      const said: Float32Array[] = [];
      const lossSum = await head.loss(states, labels, 1, (logits) => said.push(logits));
      pool.give(states);
      last?.forget();
      forgetFirstPass(run);
      return { lossSum, tokenCount, ...(classifier && { logits: joined(said) }) };
    }
    const arriving = (last ?? below).isTrained ? pool.take(chosen.dims) : undefined;
    const scaled = await head.lossWithGradients(states, labels, training.scale, arriving, run);
    pool.give(states);

    const ofImages = below.entered.images?.passed ?? [];
    const passed = [...ofImages, ...below.done, ...(last ? [last] : [])];
    const auxiliary = auxiliaryLoss(
      { architecture: architecture.auxiliaryLoss, method: method?.auxiliaryLoss },
      passed,
      training,
    );
    const ofStatistics = auxiliary?.gradients;
    const ofChosen = last ? await last.backward(arriving, run, ofStatistics) : arriving;
    let gradient: Value | undefined;
    if (ofChosen) {
      gradient = pool.take(allRows);
      floatData(gradient).fill(0);
      const labelled = floatData(ofChosen).subarray(0, rows.length * hiddenSize);
      scatterAddRows(labelled, rows, hiddenSize, floatData(gradient));
      pool.give(ofChosen);
    }
    for (const block of below.done.reverse())
      gradient = await block.backward(gradient, run, ofStatistics);
    await leave(below.entered, gradient, run, ofStatistics);
    forgetFirstPass(run);
    return {
      lossSum: scaled / training.scale,
      tokenCount,
      ...(auxiliary && { auxiliaryLoss: auxiliary.loss }),
    };
  };

  return {
    accumulateGradients: (batch, gradientOptions) => lossOf(batch, gradientOptions),
    evaluateLoss: (batch) => lossOf(batch),
    async logits(given) {
      check(given);
      const batch = withVirtualTokens(given, virtualCount);
      const shared = sharedInputs(batch, architecture, inputOptions);
      const run = await firstPass(batch, shared);
      const { x, shape, splitsLast } = await trunk(batch, shared, run, false);
      forgetFirstPass(run);
      const wanted = classifier ? chosenRows(x, lastRows(batch, classifier.padToken)) : x;
      const last = splitsLast ? await lastPart(wanted, shape, false, run) : undefined;
      const states = last?.y ?? wanted;
      const data = await head.logits(states);
      pool.give(states);
      last?.forget();
      if (classifier) return { data, shape: [shared.batch, logitCount] };
      const sequence = shared.sequence - virtualCount;
      const own = withoutVirtualTokens(data, shared.batch, virtualCount, sequence, logitCount);
      return { data: own, shape: [shared.batch, sequence, logitCount] };
    },
    async nextLogits(given, images) {
      for (const row of given) checkBatch({ inputIds: [row] }, vocabularySize);
      const length = roundedLength(Math.max(...given.map((row) => row.length)));
      const inputIds = given.map((row) => padded(row, length));
      const attentionMask = given.map((row) =>
        padded(
          row.map(() => 1),
          length,
        ),
      );
      const { blanks } = architecture.dimensions;
      const batch = withVirtualTokens(
        {
          inputIds,
          attentionMask,
          ...(blanks && contextsOf(inputIds, blanks)),
        },
        virtualCount,
      );
      const shared = sharedInputs(batch, architecture, inputOptions);
      const run = await firstPass(batch, shared);
      const skips = { skipsPadding: true } as const;
      const read = images && { images: frozenStates(images) };
      const { x, shape, splitsLast } = await trunk(batch, shared, run, false, skips, read);
      forgetFirstPass(run);
      const ends = given.map((row, b) => b * shared.sequence + virtualCount + row.length - 1);
      const chosen = chosenRows(x, Int32Array.from(ends));
      const last = splitsLast ? await lastPart(chosen, shape, false, run) : undefined;
      const states = last?.y ?? chosen;
      const logits = await head.logits(states);
      pool.give(states);
      last?.forget();
      return logits;
    },
    async report(batch, visit) {
      checkBatch(batch, vocabularySize);
      checkImages(batch, architecture);
      const shared = sharedInputs(batch, architecture, inputOptions);
      const { x } = await trunk(batch, shared, { shared: shared.values }, false, {}, { visit });
      pool.give(x);
    },
  };
}

/** Parts one behind another. */
function joined(parts: readonly Float32Array[]): Float32Array {
  const whole = new Float32Array(parts.reduce((sum, { length }) => sum + length, 0));
  let used = 0;
  for (const part of parts) {
    whole.set(part, used);
    used += part.length;
  }
  return whole;
}

/**
 * Weights in blocks that can be widened are, unless the model is for running: losses are then of the
 * same numbers as gradients.
 */
const withGradients = (weights: WeightStore): WeightStore =>
  weights.isForRunning ? weights : { ...weights, blocks: () => undefined };

/** @throws TunesmithError (config) for weights that a gradient cannot go through */
function checkTrainable({ isForRunning }: WeightStore): void {
  if (!isForRunning) return;
  throw new TunesmithError("config", {
    where: "dtype",
    rule: "training differentiates the products with frozen weights",
    seen: "q4 or q8, whose products are rounded",
    fix: "load the model without dtype, or with quantization: nf4",
  });
}

/** @throws TunesmithError (data) for packed rows, where a method cannot tell samples apart */
function checkUnpacked({ segmentIds }: Batch, method: BoundMethod | undefined): void {
  if (!segmentIds || !method?.mixesPositions) return;
  throw new TunesmithError("data", {
    where: `batch: segmentIds (method ${method.name})`,
    rule: "a row holds one sample, since the method averages over whole rows",
    seen: "packed rows",
    fix: "set data.packing: false",
  });
}
