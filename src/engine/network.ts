// Running a model block by block: forward through all segments, the loss over the rows that have a
// label, and back. One block is in flight at a time, so memory is what was saved plus one block.

import type { BoundMethod } from "../methods/index.ts";
import type { BoundArchitecture } from "../models/index.ts";
import type { Runtime, Value } from "../runtime/kernel.ts";
import { type BufferPool, createBufferPool, floatData, floats } from "../runtime/values.ts";
import type { Batch } from "./batch.ts";
import { dropoutMask } from "./dropout.ts";
import { compileHead, type Head, type HeadOptions, vocabularyBlocks } from "./head.ts";
import { checkBatch, type SharedInputs, sharedInputs } from "./inputs.ts";
import type { GradientOptions, LossSum, NumericArray } from "./model.ts";
import type { ParameterSet } from "./parameters.ts";
import { gatherRows, paddedRowCount, scatterAddRows, targetRows } from "./rows.ts";
import { compileSegment, type Feed, type Segment, type Step } from "./segment.ts";
import { type Binding, createTracer, type TraceShape } from "./trace.ts";
import type { WeightStore } from "./weights.ts";

export interface NetworkOptions {
  readonly architecture: BoundArchitecture;
  readonly method?: BoundMethod;
  readonly weights: WeightStore;
  readonly parameters: ParameterSet;
  readonly runtime: Runtime;
  /** "fast" keeps what is costly to make again between forward and backward, "lean" makes it again. */
  readonly memory: "fast" | "lean";
}

export interface Network {
  accumulateGradients(batch: Batch, options: GradientOptions): Promise<LossSum>;
  evaluateLoss(batch: Batch): Promise<LossSum>;
  logits(batch: Batch): Promise<NumericArray>;
}

/** Bytes of logits that a chunk of rows may make. */
const LOGIT_BYTES = { fast: 256 * 2 ** 20, lean: 48 * 2 ** 20 } as const;

/** Shapes of batches whose traced segments are kept. */
const KEPT_SHAPES = 24;

type Part = "block" | "attention" | "feedForward";

export function createNetwork(options: NetworkOptions): Network {
  const { architecture, method, weights, parameters, runtime, memory } = options;
  const { layers, hiddenSize, vocabularySize } = architecture.dimensions;
  const pool = createBufferPool();
  const embedding = method?.replaces.get(architecture.embeddingName);
  const outputUse = `${architecture.outputPath}.weight`;
  const output = method?.replaces.get(outputUse);
  const segments = new Map<string, Promise<Segment>>();
  const heads = new Map<string, Promise<Head>>();

  const segmentFor = (
    layer: number,
    part: Part,
    shape: TraceShape,
    rows: number,
    gradients: { readonly wanted: boolean; readonly ofInput: boolean },
  ) => {
    const sizes = [shape.batch, shape.sequence, shape.maskBatch, shape.training, rows];
    const key = [layer, part, gradients.wanted, gradients.ofInput, ...sizes].join(" ");
    return remember(segments, key, KEPT_SHAPES * (layers + 1), () => {
      const tracer = createTracer(architecture, method, shape);
      const { scope } = tracer;
      const trace = {
        block: (x: Parameters<typeof architecture.attention>[1]) =>
          architecture.feedForward(layer, architecture.attention(layer, x, scope), scope),
        attention: (x: Parameters<typeof architecture.attention>[1]) =>
          architecture.attention(layer, x, scope),
        feedForward: (x: Parameters<typeof architecture.attention>[1]) =>
          architecture.feedForward(layer, x, scope),
      }[part];
      return compileSegment(runtime, tracer, trace, {
        inputShape: [rows, hiddenSize],
        inputNeedsGradient: gradients.ofInput,
        differentiate: gradients.wanted,
        memory,
        costlyInnerLength: Math.min(192, hiddenSize),
      });
    });
  };

  const headFor = (rows: number, gradients: HeadOptions["gradients"]) =>
    remember(heads, JSON.stringify([rows, gradients]), KEPT_SHAPES, () =>
      compileHead(runtime, architecture, createTracer(architecture, method, HEAD_SHAPE), {
        rows,
        gradients,
      }),
    );

  const outputMatrix = (): Float32Array =>
    floatData(
      output ? parameters.value(output) : weights.value(architecture.outputName, OUTPUT_SLOT),
    );

  const bind = (binding: Binding, slot: number, shared: SharedInputs | undefined, seed: number) => {
    switch (binding.kind) {
      case "weight":
        return weights.value(binding.name, slot);
      case "parameter":
        return parameters.value(binding.spec);
      case "shared":
        return shared!.values[binding.name];
      case "dropout":
        return dropoutMask(seed, binding.site, binding.probability, binding.shape);
    }
  };

  const runStep = (step: Step, own: OwnValues, pass: Pass, into: readonly Value[]) =>
    step.kernel.run(
      step.feeds.map((feed: Feed, slot) => {
        switch (feed.kind) {
          case "x":
            return own.x;
          case "outputGradient":
            return own.outputGradient!;
          case "saved":
            return own.saved[feed.index]!;
          default:
            return bind(feed, slot, pass.shared, pass.seed);
        }
      }),
      into,
    );

  const forward = async (segment: Segment, x: Value, pass: Pass): Promise<Passed> => {
    const y = pool.take(segment.outputShape);
    const saved = segment.savedShapes.map((shape) => pool.take(shape));
    await runStep(segment.forward, { x, saved }, pass, [y, ...saved]);
    return { segment, x, y, saved };
  };

  /** Adds parameter gradients; returns that of the segment's input, or undefined where none is due. */
  const backward = async (passed: Passed, outputGradient: Value, pass: Pass) => {
    const { segment, x, saved } = passed;
    if (!segment.backward) return undefined;
    const shapes = [
      ...(segment.givesInputGradient ? [x.dims] : []),
      ...segment.trained.map((spec) => spec.shape),
    ];
    const into = shapes.map((shape) => pool.take(shape));
    await runStep(segment.backward, { x, saved, outputGradient }, pass, into);
    const inputGradient = segment.givesInputGradient ? into[0] : undefined;
    const parameterGradients = segment.givesInputGradient ? into.slice(1) : into;
    segment.trained.forEach((spec, i) => {
      addInto(parameters.parameter(spec).gradient, floatData(parameterGradients[i]!));
      pool.give(parameterGradients[i]!);
    });
    return inputGradient;
  };

  const embed = (batch: Batch): Value => {
    const ids = batch.inputIds.flat();
    const x = pool.take([ids.length, hiddenSize]);
    if (embedding) gatherRows(parameters.parameter(embedding).data, ids, hiddenSize, floatData(x));
    else weights.readRows(architecture.embeddingName, ids, floatData(x));
    return x;
  };

  /** Everything up to the last feed-forward, which is left to the caller with its choice of rows. */
  const trunk = async (batch: Batch, pass: Pass, differentiate: boolean) => {
    const { batch: count, sequence, maskBatch } = pass.shared;
    const shape: TraceShape = { batch: count, sequence, maskBatch, training: differentiate };
    const passes: Passed[] = [];
    // Nothing below the first trained tensor needs a gradient.
    let trainedSoFar = differentiate && embedding !== undefined;
    let x = embed(batch);
    for (let layer = 0; layer < layers; layer++) {
      const part = layer === layers - 1 ? "attention" : "block";
      const segment = await segmentFor(layer, part, shape, count * sequence, {
        wanted: differentiate,
        ofInput: trainedSoFar,
      });
      trainedSoFar ||= segment.trained.length > 0 && differentiate;
      const passed = await forward(segment, x, pass);
      if (differentiate) passes.push(passed);
      else pool.give(x);
      x = passed.y;
    }
    return { x, passes, shape, trainedSoFar };
  };

  /** The loss over chunks of rows, and in `rowGradients` the gradient of `states`. */
  const runHead = async (
    states: Value,
    labels: Int32Array,
    factor: number,
    rowGradients: Value | undefined,
    statesTrained = false,
  ): Promise<number> => {
    const matrix = outputMatrix();
    const rowCount = states.dims[0]!;
    const limit = headRowLimit(memory, vocabularySize);
    const gradients = rowGradients ? { x: statesTrained, output: output !== undefined } : "loss";
    let loss = 0;
    for (let start = 0; start < labels.length; start += limit) {
      const own = labels.subarray(start, start + limit);
      const rows = Math.min(paddedRowCount(own.length), rowCount - start);
      const x = floats(
        floatData(states).subarray(start * hiddenSize, (start + rows) * hiddenSize),
        [rows, hiddenSize],
      );
      const targets = pool.take([rows, hiddenSize]);
      gatherRows(matrix, own, hiddenSize, floatData(targets));
      const lossWeights = new Float32Array(rows).fill(factor, 0, own.length);
      const head = await headFor(rows, gradients);
      const results = await head.step.kernel.run(
        head.step.feeds.map((feed, slot) => {
          switch (feed.kind) {
            case "x":
              return x;
            case "targetRows":
              return targets;
            case "lossWeights":
              return floats(lossWeights, [rows, 1]);
            case "outputBlock":
              return floats(matrix.subarray(feed.start * hiddenSize, feed.end * hiddenSize), [
                feed.end - feed.start,
                hiddenSize,
              ]);
            default:
              return bind(feed, slot, undefined, 0);
          }
        }),
      );
      pool.give(targets);
      for (const value of floatData(results[0]!)) loss += value;
      if (rowGradients)
        collectHeadGradients({
          head,
          results: results.slice(1),
          labels: own,
          factor,
          start,
          rows,
          rowGradients,
          statesTrained,
        });
    }
    return loss;
  };

  const collectHeadGradients = ({
    head,
    results,
    labels,
    factor,
    start,
    rows,
    rowGradients,
    statesTrained,
  }: HeadResults) => {
    let next = 0;
    if (statesTrained)
      floatData(rowGradients)
        .subarray(start * hiddenSize, (start + rows) * hiddenSize)
        .set(floatData(results[next++]!));
    for (const key of head.normParameters) {
      const parameter = parameters.all.find((candidate) => candidate.name === key)!;
      addInto(parameter.gradient, floatData(results[next++]!));
    }
    if (!output) return;
    const target = parameters.parameter(output).gradient;
    const normed = floatData(results[next++]!);
    for (const [from, end] of vocabularyBlocks(vocabularySize))
      addInto(target.subarray(from * hiddenSize, end * hiddenSize), floatData(results[next++]!));
    scatterAddRows(normed, labels, hiddenSize, target, -factor);
  };

  const lossOf = async (batch: Batch, gradientOptions?: GradientOptions): Promise<LossSum> => {
    checkBatch(batch, vocabularySize);
    const { rows, labels } = targetRows(batch);
    if (labels.length === 0) return { lossSum: 0, tokenCount: 0 };
    const pass: Pass = {
      shared: sharedInputs(batch, architecture),
      seed: gradientOptions?.seed ?? 0,
    };
    const differentiate = gradientOptions !== undefined;
    const { x, passes, shape, trainedSoFar } = await trunk(batch, pass, differentiate);

    const rowCount = paddedRowCount(labels.length);
    const chosen = pool.take([rowCount, hiddenSize]);
    gatherRows(floatData(x), rows, hiddenSize, floatData(chosen));
    const lastShape = x.dims;
    pool.give(x);
    const last = await segmentFor(layers - 1, "feedForward", shape, rowCount, {
      wanted: differentiate,
      ofInput: trainedSoFar,
    });
    const statesTrained = trainedSoFar || last.trained.length > 0;
    const passed = await forward(last, chosen, pass);
    const factor = gradientOptions?.scale ?? 1;

    if (!differentiate) {
      const lossSum = await runHead(passed.y, labels, factor, undefined);
      release([passed], pool);
      pool.give(passed.y);
      return { lossSum, tokenCount: labels.length };
    }
    const rowGradients = pool.take([rowCount, hiddenSize]);
    floatData(rowGradients).fill(0);
    const scaled = await runHead(passed.y, labels, factor, rowGradients, statesTrained);
    pool.give(passed.y);
    let arriving = await backward(passed, rowGradients, pass);
    pool.give(rowGradients);
    release([passed], pool);
    if (arriving) {
      const spread = pool.take(lastShape);
      floatData(spread).fill(0);
      scatterAddRows(
        floatData(arriving).subarray(0, rows.length * hiddenSize),
        rows,
        hiddenSize,
        floatData(spread),
      );
      pool.give(arriving);
      arriving = spread;
    }
    while (passes.length > 0) {
      const done = passes.pop()!;
      const next = arriving && (await backward(done, arriving, pass));
      if (arriving) pool.give(arriving);
      release([done], pool);
      arriving = next;
    }
    if (arriving && embedding)
      scatterAddRows(
        floatData(arriving),
        batch.inputIds.flat(),
        hiddenSize,
        parameters.parameter(embedding).gradient,
      );
    if (arriving) pool.give(arriving);
    return { lossSum: scaled / factor, tokenCount: labels.length };
  };

  return {
    accumulateGradients: (batch, gradientOptions) => lossOf(batch, gradientOptions),
    evaluateLoss: (batch) => lossOf(batch),
    async logits(batch) {
      checkBatch(batch, vocabularySize);
      const pass: Pass = { shared: sharedInputs(batch, architecture), seed: 0 };
      const { x, shape } = await trunk(batch, pass, false);
      const rowCount = x.dims[0]!;
      const last = await segmentFor(layers - 1, "feedForward", shape, rowCount, {
        wanted: false,
        ofInput: false,
      });
      const { y } = await forward(last, x, pass);
      const data = new Float32Array(rowCount * vocabularySize);
      const head = await headFor(rowCount, "logits");
      const matrix = outputMatrix();
      const results = await head.step.kernel.run(
        head.step.feeds.map((feed, slot) => {
          if (feed.kind === "x") return y;
          if (feed.kind === "outputBlock")
            return floats(matrix.subarray(feed.start * hiddenSize, feed.end * hiddenSize), [
              feed.end - feed.start,
              hiddenSize,
            ]);
          return bind(feed as Binding, slot, undefined, 0);
        }),
      );
      vocabularyBlocks(vocabularySize).forEach(([start, end], i) => {
        const block = floatData(results[i]!);
        const width = end - start;
        for (let row = 0; row < rowCount; row++)
          data.set(block.subarray(row * width, (row + 1) * width), row * vocabularySize + start);
      });
      pool.give(x);
      pool.give(y);
      return { data, shape: [pass.shared.batch, pass.shared.sequence, vocabularySize] };
    },
  };
}

interface Pass {
  readonly shared: SharedInputs;
  readonly seed: number;
}

interface Passed {
  readonly segment: Segment;
  readonly x: Value;
  readonly y: Value;
  readonly saved: readonly Value[];
}

interface OwnValues {
  readonly x: Value;
  readonly saved: readonly Value[];
  readonly outputGradient?: Value;
}

interface HeadResults {
  readonly head: Head;
  readonly results: readonly Value[];
  readonly labels: Int32Array;
  readonly factor: number;
  readonly start: number;
  readonly rows: number;
  readonly rowGradients: Value;
  readonly statesTrained: boolean;
}

/** The head has neither positions nor a mask; its tracer only names weights. */
const HEAD_SHAPE: TraceShape = { batch: 1, sequence: 1, maskBatch: 1, training: false };
const OUTPUT_SLOT = -1;

function release(passes: readonly Passed[], pool: BufferPool): void {
  for (const { x, saved } of passes) for (const value of [x, ...saved]) pool.give(value);
}

function headRowLimit(memory: "fast" | "lean", vocabularySize: number): number {
  const rows = Math.floor(LOGIT_BYTES[memory] / (4 * vocabularySize) / 128) * 128;
  return Math.min(2048, Math.max(128, rows));
}

function addInto(target: Float32Array, values: Float32Array): void {
  for (let i = 0; i < target.length; i++) target[i]! += values[i]!;
}

/** `map.get(key)`, made if absent; the oldest entry goes when there are more than `limit`. */
function remember<T>(map: Map<string, T>, key: string, limit: number, make: () => T): T {
  let value = map.get(key);
  if (value === undefined) value = make();
  else map.delete(key);
  map.set(key, value);
  if (map.size > limit) map.delete(map.keys().next().value!);
  return value;
}
