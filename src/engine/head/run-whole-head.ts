// Running the head of one graph for a chunk of rows.

import type { Value } from "../../runtime/kernel.ts";
import { floatData, floats, integers } from "../../runtime/values.ts";
import { addGradient } from "../parameters.ts";
import { remember } from "../remember.ts";
import type { Chunk, ChunkHead, ChunkHeadOptions } from "./chunk.ts";
import { rowLimit } from "./head-kind.ts";
import { compileWholeHead, type WholeHead, type WholeHeadOptions } from "./whole-head.ts";

/** Numbers of rows and kinds of outputs that kernels are kept for. */
const KEPT_HEADS = 32;

export interface WholeHeadRunner extends ChunkHead {
  /** Logits [rows, vocabulary or labels]. */
  logits(states: Value): Promise<Float32Array>;
}

export function createWholeHead(options: ChunkHeadOptions): WholeHeadRunner {
  const { architecture, parameters, runtime, bind } = options;
  const { logitCount, classifier } = architecture;
  const hasValues = classifier && classifier.problem !== "single_label_classification";
  const heads = new Map<string, Promise<WholeHead>>();

  const headFor = (rows: number, make: WholeHeadOptions["make"]) =>
    remember(heads, JSON.stringify([rows, make]), KEPT_HEADS, () =>
      compileWholeHead(runtime, options, { rows, make }),
    );
  const run = (
    { step }: WholeHead,
    values: Partial<Record<"x" | "targetColumns" | "targetValues" | "lossWeights", Value>>,
    seed?: number,
  ): Promise<Value[]> =>
    step.kernel.run(
      step.feeds.map((feed, slot) => {
        switch (feed.kind) {
          case "x":
          case "targetColumns":
          case "targetValues":
          case "lossWeights":
            return values[feed.kind]!;
          default:
            return bind(feed, slot, { seed });
        }
      }),
    );

  /** The labels as the graph reads them: values, or places in the flat logits. */
  const targetsOf = (labels: Chunk["labels"], rows: number) => {
    if (hasValues) {
      const targetValues = new Float32Array(rows * logitCount);
      targetValues.set(labels);
      return { targetValues: floats(targetValues, [rows, logitCount]) };
    }
    const columns = new BigInt64Array(rows);
    labels.forEach((label, row) => {
      columns[row] = BigInt(row * logitCount + label);
    });
    return { targetColumns: integers(columns, [rows]) };
  };
  const runChunk = async (
    { states: x, labels, lossWeights, seed }: Chunk,
    make: WholeHeadOptions["make"],
  ) => {
    const rows = x.dims[0]!;
    const head = await headFor(rows, make);
    const results = await run(head, { x, lossWeights, ...targetsOf(labels, rows) }, seed);
    return { head, results: results.map(floatData) };
  };

  return {
    rowLimit: rowLimit(options.logitBytes, "whole", logitCount),
    async loss(chunk) {
      const [losses, logits] = (await runChunk(chunk, "loss")).results;
      return { losses: losses!, ...(logits && { logits }) };
    },
    async lossWithGradients(chunk, stateGradients) {
      const { head, results } = await runChunk(chunk, { x: stateGradients !== undefined });
      const [losses, ...gradients] = results;
      if (stateGradients) floatData(stateGradients).set(gradients.shift()!);
      head.trained.forEach((spec, i) => {
        addGradient(parameters.parameter(spec), gradients[i]!);
      });
      return losses!;
    },
    async logits(x) {
      const [logits] = await run(await headFor(x.dims[0]!, "logits"), { x });
      return floatData(logits!);
    },
  };
}
