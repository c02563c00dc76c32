// From the last hidden states to the loss, for a chunk of rows: final norm, output matrix, cross-
// entropy, and back, in one kernel. The vocabulary is taken in blocks, each product's result small
// enough for the cache, and the gradient needs no softmax of its own: with e_j = exp(logits_j − m)
// and s = Σ_j e_j, the gradient of Σ w · (log s + m − target) with respect to the normed states is
// (w / s) · Σ_j e_j E_j − w · E[label], where the rows of E[label] are copied, not looked up by
// the kernel. Reference for the numbers: torch.nn.functional.cross_entropy.

import type { ParameterSpec } from "../../methods/index.ts";
import type { BoundArchitecture } from "../../models/index.ts";
import type { Runtime } from "../../runtime/kernel.ts";
import {
  add,
  concat,
  constant,
  divide,
  exp,
  gradient,
  input,
  integerMatmul,
  integerRows,
  linear,
  log,
  matmul,
  maximum,
  multiply,
  subtract,
  sum,
  type Tensor,
} from "../../tensor/index.ts";
import type { Step } from "../segment.ts";
import type { Binding, Tracer, TraceShape } from "../trace.ts";

/** Columns of logits that are made and used while they are in the cache (measured: 512 to 8192). */
const VOCABULARY_BLOCK = 512;

/** The head has neither positions nor a mask; its tracer only names weights. */
export const HEAD_SHAPE: TraceShape = { batch: 1, sequence: 1, maskBatch: 1, training: false };

/** Where the output matrix is widened to, apart from the slots of any kernel's inputs. */
export const OUTPUT_SLOT = -1;

/** First and last column (excluded) of each vocabulary block. */
function vocabularyBlocks(size: number): [start: number, end: number][] {
  const count = Math.ceil(size / VOCABULARY_BLOCK);
  const bound = (i: number) => Math.round((size * i) / count);
  return Array.from({ length: count }, (_, i) => [bound(i), bound(i + 1)]);
}

export type HeadFeed =
  | { readonly kind: "x" | "targetRows" | "targetColumns" | "targetValues" | "lossWeights" }
  | {
      readonly kind: "outputBlock" | "outputCodes" | "outputScales";
      readonly start: number;
      readonly end: number;
    }
  | Binding;

export interface HeadOptions {
  readonly rows: number;
  /** Which outputs to make, see `Head`. */
  readonly gradients: { readonly x: boolean; readonly output: boolean } | "loss" | "logits";
  /** Whether the way back is multiplied in whole numbers; logits and loss never are. */
  readonly inIntegers?: boolean;
}

/**
 * Outputs in order.
 * "loss": losses [rows, 1] (negative log-likelihood times weight).
 * "logits": one [rows, block] for each vocabulary block.
 * gradients: losses; x's gradient (where wanted); those of what is trained before the output matrix;
 *   normed states [rows, hidden] and one gradient [block, hidden] a vocabulary block (where the
 *   output matrix is trained), without the label's own part, which is −w · normed at its row.
 */
export interface Head {
  readonly step: { readonly kernel: Step["kernel"]; readonly feeds: readonly HeadFeed[] };
  /** What is trained before the output matrix, in the order of the outputs. */
  readonly trained: readonly ParameterSpec[];
  /** First and last column (excluded) of each output of logits. */
  readonly blocks: readonly (readonly [start: number, end: number])[];
}

export async function compileHead(
  runtime: Runtime,
  architecture: BoundArchitecture,
  tracer: Tracer,
  { rows, gradients, inIntegers = false }: HeadOptions,
): Promise<Head> {
  const { hiddenSize } = architecture.dimensions;
  const x = input("x", [rows, hiddenSize]);
  const normed = tracer.output(architecture.finalNorm(x, tracer.scope));
  const columns = vocabularyBlocks(architecture.logitCount);
  const blocks = columns.map(([start, end]) => ({
    start,
    end,
    matrix: input(`output ${start}`, [end - start, hiddenSize]),
  }));
  const logits = blocks.map(({ matrix }) => linear(normed, matrix));
  const feeds = new Map<Tensor, HeadFeed>([
    [x, { kind: "x" }],
    ...blocks.map(
      ({ start, end, matrix }) => [matrix, { kind: "outputBlock", start, end }] as const,
    ),
    ...tracer.bindings,
  ]);
  const finish = async (outputs: readonly Tensor[], trained: readonly ParameterSpec[] = []) => {
    const given = [...feeds.keys()];
    const kernel = await runtime.compile(outputs, given);
    return { step: { kernel, feeds: [...feeds.values()] }, trained, blocks: columns };
  };
  if (gradients === "logits") return finish(logits);

  const targetRows = input("targetRows", [rows, hiddenSize]);
  const lossWeights = input("lossWeights", [rows, 1]);
  feeds.set(targetRows, { kind: "targetRows" }).set(lossWeights, { kind: "lossWeights" });

  const largest = maximum(
    concat(
      logits.map((block) => maximum(block, [1])),
      1,
    ),
    [1],
  );
  const exponentials = logits.map((block) => exp(subtract(block, largest)));
  const total = sum(
    concat(
      exponentials.map((block) => sum(block, [1])),
      1,
    ),
    [1],
  );
  const target = sum(multiply(normed, targetRows), [1]);
  const losses = multiply(lossWeights, subtract(add(log(total), largest), target));
  if (gradients === "loss") return finish([losses]);

  const rowFactor = divide(lossWeights, total);
  const weighted = ({ start, end, matrix }: (typeof blocks)[number], i: number) => {
    if (!inIntegers) return matmul(exponentials[i]!, matrix);
    const codes = input(`output codes ${start}`, matrix.shape, "int8");
    const scales = input(`output scales ${start}`, [end - start]);
    feeds.set(codes, { kind: "outputCodes", start, end });
    feeds.set(scales, { kind: "outputScales", start, end });
    return integerMatmul(integerRows(multiply(exponentials[i]!, scales)), codes);
  };
  const mixed = blocks.map(weighted).reduce((sumSoFar, part) => add(part, sumSoFar));
  const normedGradient = subtract(multiply(rowFactor, mixed), multiply(lossWeights, targetRows));
  const parameters = tracer.parameterInputs();
  const wanted = [...(gradients.x ? [x] : []), ...parameters.values()];
  const outputs = [
    losses,
    ...gradient([[normed, normedGradient]], wanted).map((value) => value ?? constant(0)),
  ];
  if (gradients.output) {
    const scaled = multiply(rowFactor, normed);
    outputs.push(normed);
    for (const block of exponentials) outputs.push(matmul(block, scaled, { transposeA: true }));
  }
  return finish(outputs, [...parameters.keys()]);
}
