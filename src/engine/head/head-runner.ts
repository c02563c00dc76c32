// Running the head over rows of hidden states, a chunk at a time, so that logits of a whole batch
// never exist at once.

import type { BoundMethod } from "../../methods/index.ts";
import type { BoundArchitecture } from "../../models/index.ts";
import type { Runtime, Value } from "../../runtime/kernel.ts";
import { type BufferPool, floatData, floats, integers, rowsFrom } from "../../runtime/values.ts";
import type { Bind, RunValues } from "../bind.ts";
import { addGradient, addInto, type ParameterSet } from "../parameters.ts";
import { remember } from "../remember.ts";
import { gatherRows, paddedRowCount, scatterAddRows } from "../rows.ts";
import { createTracer } from "../trace.ts";
import type { WeightStore } from "../weights/weights.ts";
import { compileHead, HEAD_SHAPE, type Head, type HeadOptions, OUTPUT_SLOT } from "./head.ts";
import { rowLimit } from "./logit-rows.ts";
import { compileWholeHead, isHeadWhole } from "./whole-head.ts";

/** What each row is to say: a token or a label, or a value for every label. */
export type HeadLabels = Int32Array | Float32Array;

export interface HeadRunner {
  /**
   * Σ factor · (negative log-likelihood of labels[i] at row i of `states` [rows, hidden], or the loss of
   * a classifier's problem).
   * @param visit given a classifier's logits [rows, labels], a chunk of rows at a time, in order
   */
  loss(
    states: Value,
    labels: HeadLabels,
    factor: number,
    visit?: (logits: Float32Array) => void,
  ): Promise<number>;
  /**
   * The same, adding gradients of what is trained in the head, and writing that of `states` to
   * `stateGradients` where it is given (rows without a label get zero).
   */
  lossWithGradients(
    states: Value,
    labels: HeadLabels,
    factor: number,
    stateGradients: Value | undefined,
    run: RunValues,
  ): Promise<number>;
  /** Logits [rows, vocabulary or labels]. */
  logits(states: Value): Promise<Float32Array>;
}

export interface HeadRunnerOptions {
  readonly architecture: BoundArchitecture;
  readonly method: BoundMethod | undefined;
  readonly weights: WeightStore;
  readonly parameters: ParameterSet;
  readonly runtime: Runtime;
  readonly pool: BufferPool;
  readonly bind: Bind;
  /** Bytes of logits that a chunk of rows may make. */
  readonly logitBytes: number;
}

const KEPT_HEADS = 32;

/** Tensors of the logits' size that a head in one graph has at once, as a share of which rows are taken. */
const WHOLE_COPIES = 4;

export function createHeadRunner(options: HeadRunnerOptions): HeadRunner {
  const { architecture, method, weights, parameters, runtime, pool, bind } = options;
  const { logitCount, classifier } = architecture;
  const { hiddenSize } = architecture.dimensions;
  const isWhole = isHeadWhole(method, architecture, weights);
  // In a head of one graph, the trained matrix is one of the parameters of the graph.
  const output = isWhole ? undefined : method?.replaces.get(`${architecture.outputPath}.weight`);
  const limit = rowLimit(options.logitBytes / (isWhole ? WHOLE_COPIES : 1), logitCount);
  /** How many of `labels` belong to a row. */
  const perRow =
    classifier && classifier.problem !== "single_label_classification" ? logitCount : 1;
  const heads = new Map<string, Promise<Head>>();

  const headFor = (rows: number, gradients: HeadOptions["gradients"]) =>
    remember(heads, JSON.stringify([rows, gradients]), KEPT_HEADS, () => {
      if (isWhole) return compileWholeHead(runtime, options, { rows, gradients });
      const tracer = createTracer(options, HEAD_SHAPE);
      return compileHead(runtime, architecture, tracer, { rows, gradients, inIntegers });
    });
  /** What the blocks of the output matrix are cut from; a head of one graph has none. */
  const outputMatrix = () => {
    if (isWhole) return new Float32Array(0);
    return floatData(
      output ? parameters.value(output) : weights.value(architecture.outputName, OUTPUT_SLOT),
    );
  };
  // A trained output matrix changes at every step, so it is multiplied as it is.
  const inIntegers = !output && weights.arithmetic === "int8";
  const rounded = () => weights.integerRows(architecture.outputName);
  const rowsOf = (data: Float32Array, start: number, end: number) =>
    floats(data.subarray(start * hiddenSize, end * hiddenSize), [end - start, hiddenSize]);

  const run = (
    head: Head,
    matrix: Float32Array,
    own: Partial<
      Record<"x" | "targetRows" | "targetColumns" | "targetValues" | "lossWeights", Value>
    >,
    seed?: number,
  ) =>
    head.step.kernel.run(
      head.step.feeds.map((feed, slot) => {
        switch (feed.kind) {
          case "x":
          case "targetRows":
          case "targetColumns":
          case "targetValues":
          case "lossWeights":
            return own[feed.kind]!;
          case "outputBlock":
            return rowsOf(matrix, feed.start, feed.end);
          case "outputCodes":
            return rowsFrom(rounded().codes, feed.start, feed.end);
          case "outputScales":
            return rowsFrom(rounded().scales, feed.start, feed.end);
          default:
            return bind(feed, slot, { seed });
        }
      }),
    );

  /** The labels as the head reads them: rows of the output matrix, places in the flat logits, values. */
  const targetsOf = (matrix: Float32Array, labels: HeadLabels, rows: number) => {
    if (perRow > 1 || labels instanceof Float32Array) {
      const values = new Float32Array(rows * perRow);
      values.set(labels);
      return { targetValues: floats(values, [rows, perRow]) };
    }
    if (isWhole) {
      const columns = new BigInt64Array(rows);
      labels.forEach((label, row) => {
        columns[row] = BigInt(row * logitCount + label);
      });
      return { targetColumns: integers(columns, [rows]) };
    }
    const targetRows = pool.take([rows, hiddenSize]);
    gatherRows(matrix, labels, hiddenSize, floatData(targetRows));
    return { targetRows };
  };

  /** Runs the head on each chunk of labelled rows and hands its results on. */
  const overChunks = async (
    states: Value,
    labels: HeadLabels,
    factor: number,
    gradients: HeadOptions["gradients"],
    seed: number | undefined,
    collect: (head: Head, results: readonly Value[], chunk: Chunk) => void,
  ): Promise<number> => {
    const matrix = outputMatrix();
    let loss = 0;
    const rowCount = labels.length / perRow;
    for (let start = 0; start < rowCount; start += limit) {
      const own = labels.subarray(start * perRow, (start + limit) * perRow);
      const ownRows = own.length / perRow;
      const rows = Math.min(paddedRowCount(ownRows), states.dims[0]! - start);
      const targets = targetsOf(matrix, own, rows);
      const lossWeights = new Float32Array(rows).fill(factor, 0, ownRows);
      const head = await headFor(rows, gradients);
      const values = {
        x: rowsOf(floatData(states), start, start + rows),
        ...targets,
        lossWeights: floats(lossWeights, [rows, 1]),
      };
      // Chunks are parts of one batch, and drop different elements.
      const chunkSeed = seed === undefined ? undefined : seed + start;
      const [losses, ...results] = await run(head, matrix, values, chunkSeed);
      if (targets.targetRows) pool.give(targets.targetRows);
      for (const value of floatData(losses!)) loss += value;
      collect(head, results, { start, rows, labels: own });
    }
    return loss;
  };

  return {
    loss: (states, labels, factor, visit) =>
      overChunks(states, labels, factor, "loss", undefined, (_, [logits], { labels: own }) => {
        if (logits) visit?.(floatData(logits).slice(0, (own.length / perRow) * logitCount));
      }),

    async lossWithGradients(states, labels, factor, stateGradients, { seed }) {
      const wanted = { x: stateGradients !== undefined, output: output !== undefined };
      if (stateGradients) floatData(stateGradients).fill(0);
      return overChunks(states, labels, factor, wanted, seed, (head, results, chunk) => {
        const queue = results.values();
        const next = () => floatData(queue.next().value!);
        if (stateGradients) {
          const { start, rows } = chunk;
          floatData(rowsOf(floatData(stateGradients), start, start + rows)).set(next());
        }
        for (const spec of head.trained) addGradient(parameters.parameter(spec), next());
        if (!output) return;
        const target = parameters.parameter(output).gradient;
        const normed = next();
        for (const [start, end] of head.blocks)
          addInto(target.subarray(start * hiddenSize, end * hiddenSize), next());
        scatterAddRows(normed, chunk.labels, hiddenSize, target, -factor);
      });
    },

    async logits(states) {
      const rowCount = states.dims[0]!;
      const matrix = outputMatrix();
      const data = new Float32Array(rowCount * logitCount);
      for (let first = 0; first < rowCount; first += limit) {
        const rows = Math.min(limit, rowCount - first);
        const head = await headFor(rows, "logits");
        const x = rowsOf(floatData(states), first, first + rows);
        const results = await run(head, matrix, { x });
        head.blocks.forEach(([start, end], i) => {
          const block = floatData(results[i]!);
          const width = end - start;
          for (let row = 0; row < rows; row++)
            data.set(
              block.subarray(row * width, (row + 1) * width),
              (first + row) * logitCount + start,
            );
        });
      }
      return data;
    },
  };
}

interface Chunk {
  readonly start: number;
  readonly rows: number;
  readonly labels: HeadLabels;
}
