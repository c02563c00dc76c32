// Running a model block by block: forward through all segments, the loss over the rows that have a
// label, and back. One block is in flight at a time, so memory is what was saved plus one block.

import type { BoundMethod } from "../methods/index.ts";
import type { BoundArchitecture } from "../models/index.ts";
import type { Runtime, Value } from "../runtime/kernel.ts";
import { createBufferPool, floatData } from "../runtime/values.ts";
import type { Tensor } from "../tensor/index.ts";
import type { Batch } from "./batch.ts";
import { createBind, type RunValues } from "./bind.ts";
import { createHeadRunner } from "./head-runner.ts";
import { checkBatch, type SharedInputs, sharedInputs } from "./inputs.ts";
import type { GradientOptions, LossSum, NumericArray } from "./model.ts";
import { addInto, type ParameterSet } from "./parameters.ts";
import { remember } from "./remember.ts";
import { gatherRows, paddedRowCount, scatterAddRows, targetRows } from "./rows.ts";
import { compileSegment, type Segment, type Step } from "./segment.ts";
import { createTracer, type TraceShape } from "./trace.ts";
import type { WeightStore } from "./weights.ts";

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
}

export interface Network {
  /** See `Model`. */
  accumulateGradients(batch: Batch, options: GradientOptions): Promise<LossSum>;
  evaluateLoss(batch: Batch): Promise<LossSum>;
  /** [batch, seq, vocabulary]. */
  logits(batch: Batch): Promise<NumericArray>;
}

const LOGIT_BYTES = { fast: 256 * 2 ** 20, lean: 48 * 2 ** 20 } as const;

/** Shapes of batches whose traced segments are kept. */
const KEPT_SHAPES = 24;

type Part = "block" | "attention" | "feedForward";

/** Whether a segment is differentiated, and whether down to its input. */
interface Wanted {
  readonly gradients: boolean;
  readonly ofInput: boolean;
}

/** A segment that was run forward, and what its backward pass needs. */
interface Passed {
  readonly segment: Segment;
  readonly x: Value;
  readonly y: Value;
  readonly saved: readonly Value[];
}

export function createNetwork(options: NetworkOptions): Network {
  const { architecture, method, weights, parameters, runtime, memory } = options;
  const { layers, hiddenSize, vocabularySize } = architecture.dimensions;
  const pool = createBufferPool();
  const bind = createBind(weights, parameters);
  const logitBytes = options.logitBytes ?? LOGIT_BYTES[memory];
  const head = createHeadRunner({ ...options, method, pool, bind, logitBytes });
  const embedding = method?.replaces.get(architecture.embeddingName);
  const segments = new Map<string, Promise<Segment>>();

  const segmentFor = (
    layer: number,
    part: Part,
    shape: TraceShape,
    rows: number,
    wanted: Wanted,
  ): Promise<Segment> => {
    const key = JSON.stringify([layer, part, shape, rows, wanted]);
    return remember(segments, key, KEPT_SHAPES * (layers + 1), () => {
      const tracer = createTracer(architecture, method, shape);
      const attention = (x: Tensor) => architecture.attention(layer, x, tracer.scope);
      const feedForward = (x: Tensor) => architecture.feedForward(layer, x, tracer.scope);
      const parts = { attention, feedForward, block: (x: Tensor) => feedForward(attention(x)) };
      return compileSegment(runtime, tracer, parts[part], {
        inputShape: [rows, hiddenSize],
        inputNeedsGradient: wanted.ofInput,
        differentiate: wanted.gradients,
        memory,
        costlyInnerLength: Math.min(192, hiddenSize),
      });
    });
  };

  const runStep = (step: Step, own: OwnValues, run: RunValues, into: readonly Value[]) =>
    step.kernel.run(
      step.feeds.map((feed, slot) => {
        switch (feed.kind) {
          case "x":
            return own.x;
          case "outputGradient":
            return own.outputGradient!;
          case "saved":
            return own.saved[feed.index]!;
          default:
            return bind(feed, slot, run);
        }
      }),
      into,
    );

  const forward = async (segment: Segment, x: Value, run: RunValues): Promise<Passed> => {
    const y = pool.take(segment.outputShape);
    const saved = segment.savedShapes.map((shape) => pool.take(shape));
    await runStep(segment.forward, { x, saved }, run, [y, ...saved]);
    return { segment, x, y, saved };
  };

  /**
   * Adds parameter gradients and lets go of what forward left. Returns the gradient of the segment's
   * input, or undefined where nothing before it is trained; `outputGradient` is let go of too.
   */
  const backward = async (
    { segment, x, saved }: Passed,
    outputGradient: Value | undefined,
    run: RunValues,
  ): Promise<Value | undefined> => {
    let inputGradient: Value | undefined;
    if (segment.backward && outputGradient) {
      const ofInput = segment.givesInputGradient ? [pool.take(x.dims)] : [];
      const ofParameters = segment.trained.map((spec) => pool.take(spec.shape));
      const into = [...ofInput, ...ofParameters];
      await runStep(segment.backward, { x, saved, outputGradient }, run, into);
      segment.trained.forEach((spec, i) => {
        addInto(parameters.parameter(spec).gradient, floatData(ofParameters[i]!));
        pool.give(ofParameters[i]!);
      });
      inputGradient = ofInput[0];
    }
    for (const value of [x, ...saved]) pool.give(value);
    if (outputGradient) pool.give(outputGradient);
    return inputGradient;
  };

  const embed = (ids: readonly number[]): Value => {
    const x = pool.take([ids.length, hiddenSize]);
    if (embedding) gatherRows(parameters.parameter(embedding).data, ids, hiddenSize, floatData(x));
    else weights.readRows(architecture.embeddingName, ids, floatData(x));
    return x;
  };

  /** Runs everything up to the last feed-forward, which is left to the caller with its choice of rows. */
  const trunk = async (batch: Batch, shared: SharedInputs, run: RunValues, training: boolean) => {
    const { batch: rows, sequence, maskBatch } = shared;
    const shape: TraceShape = { batch: rows, sequence, maskBatch, training };
    const passes: Passed[] = [];
    // Nothing below the first trained tensor needs a gradient.
    let trainedSoFar = training && embedding !== undefined;
    let x = embed(batch.inputIds.flat());
    for (let layer = 0; layer < layers; layer++) {
      const part = layer === layers - 1 ? "attention" : "block";
      const wanted = { gradients: training, ofInput: trainedSoFar };
      const segment = await segmentFor(layer, part, shape, rows * sequence, wanted);
      const passed = await forward(segment, x, run);
      trainedSoFar ||= training && segment.trained.length > 0;
      if (training) passes.push(passed);
      else pool.give(x);
      x = passed.y;
    }
    return { x, passes, shape, trainedSoFar };
  };

  const lossOf = async (batch: Batch, training?: GradientOptions): Promise<LossSum> => {
    checkBatch(batch, vocabularySize);
    const { rows, labels } = targetRows(batch);
    if (labels.length === 0) return { lossSum: 0, tokenCount: 0 };
    const shared = sharedInputs(batch, architecture);
    const run: RunValues = { shared: shared.values, seed: training?.seed };
    const below = await trunk(batch, shared, run, training !== undefined);
    const states = below.x;

    const rowCount = paddedRowCount(labels.length);
    const chosen = pool.take([rowCount, hiddenSize]);
    gatherRows(floatData(states), rows, hiddenSize, floatData(chosen));
    pool.give(states);
    const wanted = { gradients: training !== undefined, ofInput: below.trainedSoFar };
    const last = await segmentFor(layers - 1, "feedForward", below.shape, rowCount, wanted);
    const passed = await forward(last, chosen, run);

    if (!training) {
      const lossSum = await head.loss(passed.y, labels, 1);
      for (const value of [chosen, passed.y, ...passed.saved]) pool.give(value);
      return { lossSum, tokenCount: labels.length };
    }
    const anyTrained = below.trainedSoFar || last.trained.length > 0;
    const arriving = anyTrained ? pool.take([rowCount, hiddenSize]) : undefined;
    const scaled = await head.lossWithGradients(passed.y, labels, training.scale, arriving);
    pool.give(passed.y);
    const ofChosen = await backward(passed, arriving, run);

    let gradient: Value | undefined;
    if (ofChosen) {
      gradient = pool.take(states.dims);
      floatData(gradient).fill(0);
      const labelled = floatData(ofChosen).subarray(0, rows.length * hiddenSize);
      scatterAddRows(labelled, rows, hiddenSize, floatData(gradient));
      pool.give(ofChosen);
    }
    for (const done of below.passes.reverse()) gradient = await backward(done, gradient, run);
    if (gradient && embedding) {
      const target = parameters.parameter(embedding).gradient;
      scatterAddRows(floatData(gradient), batch.inputIds.flat(), hiddenSize, target);
      pool.give(gradient);
    }
    return { lossSum: scaled / training.scale, tokenCount: labels.length };
  };

  return {
    accumulateGradients: (batch, gradientOptions) => lossOf(batch, gradientOptions),
    evaluateLoss: (batch) => lossOf(batch),
    async logits(batch) {
      checkBatch(batch, vocabularySize);
      const shared = sharedInputs(batch, architecture);
      const run: RunValues = { shared: shared.values };
      const { x, shape } = await trunk(batch, shared, run, false);
      const rowCount = x.dims[0]!;
      const wanted = { gradients: false, ofInput: false };
      const last = await segmentFor(layers - 1, "feedForward", shape, rowCount, wanted);
      const { y } = await forward(last, x, run);
      const data = await head.logits(y);
      pool.give(x);
      pool.give(y);
      return { data, shape: [shared.batch, shared.sequence, vocabularySize] };
    },
  };
}

interface OwnValues {
  readonly x: Value;
  readonly saved: readonly Value[];
  readonly outputGradient?: Value;
}
