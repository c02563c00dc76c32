// Running the head where the output module is a matrix: slice by slice of the vocabulary, for a chunk of rows.

import type { Value } from "../../runtime/kernel.ts";
import { floatData, floats, rowsFrom } from "../../runtime/values.ts";
import type { Shape } from "../../tensor/index.ts";
import { addGradient, addInto } from "../parameters.ts";
import { remember } from "../remember.ts";
import { gatherRows, scatterAddRows } from "../rows.ts";
import type { Chunk, ChunkHead, ChunkHeadOptions } from "./chunk.ts";
import { rowLimit } from "./head-kind.ts";
import {
  blocksOf,
  type Columns,
  compileMatrixHead,
  type MatrixFeed,
  type MatrixHead,
  type MatrixPart,
  type MatrixStep,
  type RowValue,
  slicesOf,
} from "./matrix-head.ts";

/** Numbers of rows and kinds of gradients that kernels are kept for. */
const KEPT_HEADS = 32;

/** A slice that was run: what its share of the trained matrix's gradient needs. */
interface PassedSlice {
  readonly columns: Columns;
  readonly largest: Float32Array;
  readonly exponentials: readonly Value[];
}

type RowValues = Partial<Record<RowValue, Value>>;

export function createMatrixHead(options: ChunkHeadOptions): ChunkHead {
  const { architecture, method, weights, parameters, runtime, pool, bind } = options;
  const { hiddenSize } = architecture.dimensions;
  const { outputName, outputPath, logitCount } = architecture;
  /** The output matrix, where it is trained. */
  const output = method?.replaces.get(`${outputPath}.weight`);
  const slices = slicesOf(logitCount);
  const heads = new Map<string, Promise<MatrixHead>>();
  // A trained output matrix changes at every step, so it is multiplied as it is.
  const inIntegers = !output && weights.arithmetic === "int8";

  const headFor = (
    rows: number,
    gradients?: { readonly states: boolean; readonly matrix: boolean },
  ) =>
    remember(heads, JSON.stringify([rows, gradients]), KEPT_HEADS, () =>
      compileMatrixHead(runtime, options, { rows, gradients, inIntegers }),
    );

  /** The rows of the output matrix that make these columns of the logits. */
  const matrixRows = ([start, end]: Columns): Value =>
    output ? rowsFrom(parameters.value(output), start, end) : weights.rows(outputName, start, end);
  /** Parts of a slice, cut into blocks as its kernels ask for them. */
  const partOf = (slice: Columns): Partial<Record<MatrixPart, Value>> => {
    const matrix = matrixRows(slice);
    if (!inIntegers) return { matrix };
    const { codes, scales } = weights.integerRows(outputName);
    return { matrix, codes: rowsFrom(codes, ...slice), scales: rowsFrom(scales, ...slice) };
  };

  const feedsOf = (
    { feeds }: MatrixStep,
    values: RowValues,
    ofColumns: (feed: Extract<MatrixFeed, { kind: "columns" }>) => Value,
  ) =>
    feeds.map((feed, slot) => {
      if (feed.kind === "value") return values[feed.name]!;
      return feed.kind === "columns" ? ofColumns(feed) : bind(feed, slot, {});
    });
  const noColumns = ({ of }: { of: MatrixPart }): never => {
    throw new Error(`no slice, whose ${of} could be read`);
  };

  const takeAll = (shapes: readonly Shape[]): Value[] => shapes.map((shape) => pool.take(shape));
  const giveBack = (values: Iterable<Value>) => {
    for (const value of values) pool.give(value);
  };

  /** Memory for what is carried on from slice to slice, in the order of a slice's outputs. */
  const carriedValues = (rows: number, mixes: boolean) => ({
    largest: pool.take([rows, 1]),
    total: pool.take([rows, 1]),
    ...(mixes && { mixed: pool.take([rows, hiddenSize]) }),
  });
  /** The same before any slice. */
  const nothingCarried = (rows: number, mixes: boolean) => {
    const carried = carriedValues(rows, mixes);
    floatData(carried.largest).fill(Number.NEGATIVE_INFINITY);
    floatData(carried.total).fill(0);
    if (carried.mixed) floatData(carried.mixed).fill(0);
    return carried;
  };

  /** Rows of the output matrix that are the labels'. */
  const targetRowsOf = ({ labels, states: { dims } }: Chunk): Value => {
    const targets = pool.take(dims);
    const data = floatData(targets);
    if (output) gatherRows(floatData(parameters.value(output)), labels, hiddenSize, data);
    else {
      weights.readRows(outputName, labels, data);
      data.fill(0, labels.length * hiddenSize);
    }
    return targets;
  };

  /** Runs a chunk and hands the results on, whose memory is used again afterwards. */
  const run = async (
    chunk: Chunk,
    gradients: { readonly states: boolean; readonly matrix: boolean } | undefined,
    stateGradients?: Value,
  ): Promise<Float32Array> => {
    const { states, lossWeights } = chunk;
    const rows = states.dims[0]!;
    const head = await headFor(rows, gradients);
    const normed = pool.take(states.dims);
    await head.enter.kernel.run(feedsOf(head.enter, { states }, noColumns), [normed]);

    let carried = nothingCarried(rows, head.mixes);
    const passed: PassedSlice[] = [];
    for (const columns of slices) {
      const [first, end] = columns;
      const step = await head.slice(end - first);
      const parts = partOf(columns);
      const feeds = feedsOf(step, { normed, ...carried }, ({ of, columns: [a, b] }) =>
        rowsFrom(parts[of]!, a, b),
      );
      const next = carriedValues(rows, head.mixes);
      const exponentials = gradients?.matrix
        ? takeAll(blocksOf(columns).map(([a, b]) => [rows, b - a]))
        : [];
      await step.kernel.run(feeds, [...Object.values(next), ...exponentials]);
      if (gradients?.matrix)
        passed.push({ columns, largest: floatData(next.largest).slice(), exponentials });
      giveBack(Object.values(carried));
      carried = next;
    }

    const targetRows = targetRowsOf(chunk);
    const values = { states, normed, targetRows, lossWeights, ...carried };
    const losses = pool.take([rows, 1]);
    const ofParameters = takeAll(head.trained.map(({ shape }) => shape));
    await head.leave.kernel.run(feedsOf(head.leave, values, noColumns), [
      losses,
      ...(stateGradients ? [stateGradients] : []),
      ...ofParameters,
    ]);
    head.trained.forEach((spec, i) => {
      addGradient(parameters.parameter(spec), floatData(ofParameters[i]!));
    });
    if (gradients?.matrix && output) await addMatrixGradient(head, chunk, values, passed);
    const result = floatData(losses).slice();
    giveBack([normed, targetRows, losses, ...Object.values(carried), ...ofParameters]);
    return result;
  };

  /** From the exponentials of all slices, each of which is of the largest logit until there. */
  const addMatrixGradient = async (
    head: MatrixHead,
    { labels, factor }: Chunk,
    values: Required<Pick<RowValues, "normed" | "lossWeights" | "largest" | "total">>,
    passed: readonly PassedSlice[],
  ) => {
    const target = parameters.parameter(output!).gradient;
    const [lossWeights, largest, total] = [values.lossWeights, values.largest, values.total].map(
      floatData,
    ) as [Float32Array, Float32Array, Float32Array];
    for (const { columns, largest: until, exponentials } of passed) {
      const [first, end] = columns;
      const factors = Float32Array.from(
        until,
        (value, row) => (lossWeights[row]! / total[row]!) * Math.exp(value - largest[row]!),
      );
      const step = await head.sliceGradient(end - first);
      const blocks = blocksOf(columns);
      const feeds = feedsOf(
        step,
        { normed: values.normed, factors: floats(factors, [factors.length, 1]) },
        ({ columns: [a] }) => exponentials[blocks.findIndex(([start]) => start === a)]!,
      );
      const gradients = takeAll(blocks.map(([a, b]) => [b - a, hiddenSize]));
      await step.kernel.run(feeds, gradients);
      gradients.forEach((gradient, i) => {
        const [a, b] = blocks[i]!;
        const own = target.subarray((first + a) * hiddenSize, (first + b) * hiddenSize);
        addInto(own, floatData(gradient));
      });
      giveBack([...gradients, ...exponentials]);
    }
    scatterAddRows(floatData(values.normed), labels as Int32Array, hiddenSize, target, -factor);
  };

  return {
    rowLimit: rowLimit(options.logitBytes, output ? "trained matrix" : "matrix", logitCount),
    async loss(chunk) {
      return { losses: await run(chunk, undefined) };
    },
    lossWithGradients: (chunk, stateGradients) =>
      run(
        chunk,
        { states: stateGradients !== undefined, matrix: output !== undefined },
        stateGradients,
      ),
  };
}
