// From the last hidden states to the loss and back, where the output module is a matrix: the graphs. The
// vocabulary is taken in slices, and logits of one slice are all that there are at a time. Slice by slice
// three things are carried on: the largest logit m so far, s = Σ_j e_j with e_j = exp(logits_j − m), and
// Σ_j e_j E_j; a larger m shrinks what is there (Milakov & Gimelshein 2018, section 3, whose normaliser
// is carried on so). The gradient needs no softmax of its own: that of Σ w · (log s + m − target) with respect to the
// normed states is (w / s) · Σ_j e_j E_j − w · E[label], where the rows of E[label] are copied, not looked up
// by a kernel. Reference for the numbers: torch.nn.functional.cross_entropy.

import type { ParameterSpec } from "../../methods/index.ts";
import type { BoundArchitecture } from "../../models/index.ts";
import type { Kernel, Runtime } from "../../runtime/kernel.ts";
import {
  add,
  broadcast,
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
  type Shape,
  subtract,
  sum,
  type Tensor,
  topologicalOrder,
} from "../../tensor/index.ts";
import { remember } from "../remember.ts";
import { type Binding, createTracer, type TracedModel, type TraceShape } from "../trace.ts";

/** Columns of logits that one product makes: small enough for the cache (measured: 256 to 8,192). */
const BLOCK = 512;

/** Columns of a slice, whose logits are there at once (measured: 512 to 49,152). */
export const SLICE = 8 * BLOCK;

/** The head has neither positions nor a mask; its tracer only names weights. */
const HEAD_SHAPE: TraceShape = { batch: 1, sequence: 1, maskBatch: 1, training: false };

/** Slices are as wide as `SLICE`, but for the last one. */
const WIDTHS = 2;

/** First and last column (excluded). */
export type Columns = readonly [start: number, end: number];

/** Columns in parts of `size`, and what is left. */
function partsOf([start, end]: Columns, size: number): Columns[] {
  const count = Math.ceil((end - start) / size);
  return Array.from({ length: count }, (_, i) => [
    start + i * size,
    Math.min(end, start + (i + 1) * size),
  ]);
}

const widthOf = ([start, end]: Columns): number => end - start;

export const slicesOf = (vocabulary: number): Columns[] => partsOf([0, vocabulary], SLICE);

/** The columns of a slice, counted from its first one, that each of its products makes. */
export const blocksOf = ([start, end]: Columns): Columns[] => partsOf([0, end - start], BLOCK);

/** What an input is: a value by name, columns of the output matrix, or something bound. */
export type MatrixFeed =
  | { readonly kind: "value"; readonly name: RowValue }
  | { readonly kind: "columns"; readonly of: MatrixPart; readonly columns: Columns }
  | Binding;

/** Values with a row for each of the states. */
export type RowValue =
  | "states"
  | "normed"
  | "targetRows"
  | "lossWeights"
  | keyof Carried
  | "factors";
/** `exponentials` are those of a slice, block by block. */
export type MatrixPart = "matrix" | "codes" | "scales" | "exponentials";

/** What is carried on from slice to slice; [rows, 1] each, but for `mixed` [rows, hidden]. */
interface Carried {
  readonly largest: Tensor;
  readonly total: Tensor;
  /** Rows of the matrix, each as often as its exponential says; only for gradients. */
  readonly mixed: Tensor;
}

export interface MatrixStep {
  readonly kernel: Kernel;
  readonly feeds: readonly MatrixFeed[];
}

export interface MatrixHeadOptions {
  readonly rows: number;
  /** What gradients are wanted of: undefined for the loss alone. */
  readonly gradients?: { readonly states: boolean; readonly matrix: boolean } | undefined;
  /** Whether the way back is multiplied in whole numbers; logits and loss never are. */
  readonly inIntegers: boolean;
}

export interface MatrixHead {
  /** Makes the normed states. */
  readonly enter: MatrixStep;
  /** For a slice of so many columns. Outputs: what is carried on, then the exponentials if the matrix is trained. */
  slice(width: number): Promise<MatrixStep>;
  /** Makes the losses [rows, 1], the states' gradient (where wanted), and those of `trained`. */
  readonly leave: MatrixStep;
  /** Makes a slice's gradient, block by block, without the labels' own part. */
  sliceGradient(width: number): Promise<MatrixStep>;
  /** Whether `mixed` is carried on. */
  readonly mixes: boolean;
  /** What is trained before the output matrix. */
  readonly trained: readonly ParameterSpec[];
}

export async function compileMatrixHead(
  runtime: Runtime,
  model: TracedModel & { readonly architecture: BoundArchitecture },
  { rows, gradients, inIntegers }: MatrixHeadOptions,
): Promise<MatrixHead> {
  const { architecture } = model;
  const { hiddenSize } = architecture.dimensions;
  const tracer = createTracer(model, HEAD_SHAPE);
  const given = inputs();
  const states = given.value("states", [rows, hiddenSize]);
  const normed = tracer.output(architecture.finalNorm(states, tracer.scope));
  const parameters = gradients ? tracer.parameterInputs() : new Map<ParameterSpec, Tensor>();
  const wanted = [...(gradients?.states ? [states] : []), ...parameters.values()];
  const mixes = wanted.length > 0;
  const compile = async (from: Inputs, outputs: readonly Tensor[]): Promise<MatrixStep> => {
    const used = topologicalOrder(outputs).filter(({ operator }) => operator === "input");
    const kernel = await runtime.compile(outputs, used);
    const feeds = used.map((tensor) => from.feeds.get(tensor) ?? tracer.bindings.get(tensor)!);
    return { kernel, feeds };
  };
  const carriedInto = (from: Inputs): Carried => ({
    largest: from.value("largest", [rows, 1]),
    total: from.value("total", [rows, 1]),
    mixed: from.value("mixed", [rows, hiddenSize]),
  });

  const slice = (width: number): Promise<MatrixStep> => {
    const from = inputs();
    const x = from.value("normed", [rows, hiddenSize]);
    const before = carriedInto(from);
    const blocks = blocksOf([0, width]);
    const matrices = blocks.map((columns) =>
      from.columns("matrix", columns, [widthOf(columns), hiddenSize]),
    );
    const logits = matrices.map((matrix) => linear(x, matrix));
    const largest = maximum(
      concat([before.largest, ...logits.map((block) => maximum(block, [1]))], 1),
      [1],
    );
    const shrunk = exp(subtract(before.largest, largest));
    const exponentials = logits.map((block) => exp(subtract(block, largest)));
    const own = sum(
      concat(
        exponentials.map((block) => sum(block, [1])),
        1,
      ),
      [1],
    );
    const weighted = (block: Tensor, i: number): Tensor => {
      if (!inIntegers) return matmul(block, matrices[i]!);
      const width = widthOf(blocks[i]!);
      const codes = from.columns("codes", blocks[i]!, [width, hiddenSize], "int8");
      const scales = from.columns("scales", blocks[i]!, [width]);
      return integerMatmul(integerRows(multiply(block, scales)), codes);
    };
    const mixed = () =>
      exponentials
        .map(weighted)
        .reduce((all, part) => add(part, all), multiply(before.mixed, shrunk));
    return compile(from, [
      largest,
      add(multiply(before.total, shrunk), own),
      ...(mixes ? [mixed()] : []),
      ...(gradients?.matrix ? exponentials : []),
    ]);
  };

  const leave = (): Promise<MatrixStep> => {
    const { largest, total, mixed } = carriedInto(given);
    const targetRows = given.value("targetRows", [rows, hiddenSize]);
    const lossWeights = given.value("lossWeights", [rows, 1]);
    const target = sum(multiply(normed, targetRows), [1]);
    const losses = multiply(lossWeights, subtract(add(log(total), largest), target));
    const ofNormed = subtract(
      multiply(divide(lossWeights, total), mixed),
      multiply(lossWeights, targetRows),
    );
    const found = gradient([[normed, ofNormed]], wanted).map(
      (value, i) => value ?? broadcast(constant(0), wanted[i]!.shape),
    );
    return compile(given, [losses, ...found]);
  };

  const sliceGradient = (width: number): Promise<MatrixStep> => {
    const from = inputs();
    const scaled = multiply(
      from.value("factors", [rows, 1]),
      from.value("normed", [rows, hiddenSize]),
    );
    const blocks = blocksOf([0, width]).map((columns) => {
      const block = from.columns("exponentials", columns, [rows, widthOf(columns)]);
      return matmul(block, scaled, { transposeA: true });
    });
    return compile(from, blocks);
  };

  const slices = new Map<number, Promise<MatrixStep>>();
  const sliceGradients = new Map<number, Promise<MatrixStep>>();
  return {
    enter: await compile(given, [normed]),
    slice: (width) => remember(slices, width, WIDTHS, () => slice(width)),
    leave: await leave(),
    sliceGradient: (width) => remember(sliceGradients, width, WIDTHS, () => sliceGradient(width)),
    mixes,
    trained: [...parameters.keys()],
  };
}

interface Inputs {
  readonly feeds: ReadonlyMap<Tensor, MatrixFeed>;
  value(name: RowValue, shape: Shape): Tensor;
  columns(of: MatrixPart, columns: Columns, shape: Shape, dtype?: "int8"): Tensor;
}

/** The inputs of one graph, with what each of them is. */
function inputs(): Inputs {
  const feeds = new Map<Tensor, MatrixFeed>();
  const known = (feed: MatrixFeed, tensor: Tensor) => {
    feeds.set(tensor, feed);
    return tensor;
  };
  return {
    feeds,
    value: (name, shape) => known({ kind: "value", name }, input(name, shape)),
    columns: (of, columns, shape, dtype) =>
      known({ kind: "columns", of, columns }, input(`${of} ${columns[0]}`, shape, dtype)),
  };
}
