// What a model is asked: the loss over the rows that have a label, with gradients or without, and logits.
// Each goes through the trunk of all layers, and then through the head on the rows that are wanted alone.

import { TunesmithError } from "../errors.ts";
import type { BoundMethod } from "../methods/index.ts";
import type { BoundArchitecture } from "../models/index.ts";
import type { Runtime, Value } from "../runtime/kernel.ts";
import { type BufferPool, createBufferPool, floatData } from "../runtime/values.ts";
import { auxiliaryLoss, tensorLosses } from "./auxiliary-loss.ts";
import { type Batch, targetsOfBatch } from "./batch.ts";
import { createBind } from "./bind.ts";
import { LOGIT_BYTES } from "./head/head-kind.ts";
import { createHeadRunner } from "./head/head-runner.ts";
import { checkImages } from "./image-rows.ts";
import { frozenStates } from "./images.ts";
import { checkBatch } from "./inputs.ts";
import type { GradientOptions, LossSum, NumericArray } from "./model.ts";
import type { ParameterSet } from "./parameters.ts";
import { paddedRows } from "./rounded-length.ts";
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
import { createTrunk, type TrunkRequest } from "./trunk.ts";
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

export function createNetwork(options: NetworkOptions): Network {
  const { architecture, method, memory } = options;
  const weights = withGradients(options.weights);
  const { logitCount, classifier } = architecture;
  const { hiddenSize, vocabularySize, blanks } = architecture.dimensions;
  const { pool = createBufferPool() } = options;
  const bind = createBind(weights, options.parameters);
  const logitBytes = options.logitBytes ?? LOGIT_BYTES[memory];
  const parts = { ...options, weights, method, pool, bind };
  const head = createHeadRunner({ ...parts, logitBytes });
  const trunk = createTrunk(parts);
  const addTensorLosses = tensorLosses(method, options.parameters, options.runtime);
  const virtualCount = method?.virtualTokens?.count ?? 0;

  /** The wanted rows of `x`, whose memory is used again. */
  const chosenRows = (x: Value, rows: Int32Array, count = rows.length): Value => {
    const chosen = pool.take([count, hiddenSize]);
    gatherRows(floatData(x), rows, hiddenSize, floatData(chosen));
    pool.give(x);
    return chosen;
  };
  /** Logits of a batch, of some of its rows or of all. */
  const logitsOf = async (batch: Batch, rows?: Int32Array, request: TrunkRequest = {}) => {
    const inputs = await trunk.inputs(batch);
    const below = await trunk.forward(batch, inputs, request);
    const wanted = rows ? chosenRows(below.x, rows) : below.x;
    const last = await trunk.finish(below, wanted, inputs);
    trunk.forget(inputs);
    const states = last?.y ?? wanted;
    const logits = await head.logits(states);
    pool.give(states);
    last?.forget();
    return logits;
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
    const ofTensors = training && (await addTensorLosses(training));
    const added = (loss = ofTensors) => (loss === undefined ? {} : { auxiliaryLoss: loss });
    if (tokenCount === 0) return { lossSum: 0, tokenCount, ...added() };
    const inputs = await trunk.inputs(batch, training?.seed);
    const below = await trunk.forward(batch, inputs, { training: training !== undefined });
    const allRows = below.x.dims;

    const chosen = chosenRows(below.x, rows, paddedRowCount(tokenCount));
    const last = await trunk.finish(below, chosen, inputs);
    const states = last?.y ?? chosen;

    if (!training) {
      const said: Float32Array[] = [];
      const lossSum = await head.loss(states, labels, 1, (logits) => said.push(logits));
      pool.give(states);
      last?.forget();
      trunk.forget(inputs);
      return { lossSum, tokenCount, ...(classifier && { logits: joined(said) }) };
    }
    const { run } = inputs;
    const arriving = (last ?? below).isTrained ? pool.take(chosen.dims) : undefined;
    const scaled = await head.lossWithGradients(states, labels, training.scale, arriving, run);
    pool.give(states);

    const auxiliary = auxiliaryLoss(
      { architecture: architecture.auxiliaryLoss, method: method?.auxiliaryLoss },
      [...below.blocks, ...(last ? [last] : [])],
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
    await trunk.backward(below, gradient, inputs, ofStatistics);
    trunk.forget(inputs);
    return {
      lossSum: scaled / training.scale,
      tokenCount,
      ...added(auxiliary && auxiliary.loss + (ofTensors ?? 0)),
    };
  };

  return {
    accumulateGradients: (batch, gradientOptions) => lossOf(batch, gradientOptions),
    evaluateLoss: (batch) => lossOf(batch),
    async logits(given) {
      check(given);
      const batch = withVirtualTokens(given, virtualCount);
      const rows = batch.inputIds.length;
      if (classifier) {
        const data = await logitsOf(batch, lastRows(batch, classifier.padToken));
        return { data, shape: [rows, logitCount] };
      }
      const data = await logitsOf(batch);
      const sequence = batch.inputIds[0]!.length - virtualCount;
      const own = withoutVirtualTokens(data, rows, virtualCount, sequence, logitCount);
      return { data: own, shape: [rows, sequence, logitCount] };
    },
    async nextLogits(given, images) {
      for (const row of given) checkBatch({ inputIds: [row] }, vocabularySize);
      const rows = paddedRows(given);
      const context = blanks && contextsOf(rows.inputIds, blanks);
      const batch = withVirtualTokens({ ...rows, ...context }, virtualCount);
      const width = batch.inputIds[0]!.length;
      const ends = given.map((row, b) => b * width + virtualCount + row.length - 1);
      return logitsOf(batch, Int32Array.from(ends), {
        skipsPadding: true,
        images: images && frozenStates(images),
      });
    },
    async report(batch, visit) {
      checkBatch(batch, vocabularySize);
      checkImages(batch, architecture);
      const { x } = await trunk.forward(batch, await trunk.inputs(batch), { visit });
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
