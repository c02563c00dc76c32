// Running segments forward and back: what one left for the other, and the memory in between.

import type { BoundMethod } from "../methods/index.ts";
import type { BlockStack } from "../models/index.ts";
import type { Runtime, Value } from "../runtime/kernel.ts";
import { type BufferPool, floatData, floats } from "../runtime/values.ts";
import { type Shape, sizeOf, type Tensor } from "../tensor/index.ts";
import type { Bind, RunValues } from "./bind.ts";
import { blockEntry } from "./enter-blocks.ts";
import {
  enterExperts,
  expertWidth,
  joinedWidth,
  leaveExperts,
  weightedExpert,
} from "./experts/pieces.ts";
import { addGradient, type ParameterSet } from "./parameters.ts";
import { remember } from "./remember.ts";
import { compileSegment, type Segment, type Step } from "./segment.ts";
import { createTracer, type Reporter, type TraceShape } from "./trace.ts";
import type { WeightStore } from "./weights/weights.ts";

/**
 * What a segment computes: a layer or half of one, a piece of a sparse feed-forward (`experts/pieces.ts`), the
 * last norm, what a method does to embedded tokens, or what both do to them before blocks.
 */
export type Part =
  | "block"
  | "attention"
  | "feedForward"
  | "blockToExperts"
  | "toExperts"
  | "expert"
  | "fromExperts"
  | "finalNorm"
  | "enter"
  | "embed"
  | "virtualTokens";

export interface SegmentRequest {
  readonly layer: number;
  readonly part: Part;
  /** Which one, where the part is "expert". */
  readonly expert?: number;
  readonly shape: TraceShape;
  /** Rows of its input. */
  readonly rows: number;
  /** Of an input that is not made of rows: an image. */
  readonly inputShape?: Shape;
  /** Whether it is differentiated, and whether down to its input. */
  readonly gradients: boolean;
  readonly ofInput: boolean;
}

/** Gradients of what was reported, by who did and then by name. */
export type StatisticGradients = Readonly<
  Partial<Record<Reporter, ReadonlyMap<string, Float32Array>>>
>;

/** A segment that was run forward, and what its backward pass needs. */
export interface Passed {
  readonly segment: Segment;
  readonly x: Value;
  readonly y: Value;
  readonly statistics: readonly Value[];
  readonly saved: readonly Value[];
}

export interface Passes {
  forward(request: SegmentRequest, x: Value, run: RunValues): Promise<Passed>;
  /**
   * Adds parameter gradients and lets go of what forward left, but for y. Returns the gradient of the
   * segment's input, or undefined where nothing before it is trained; `outputGradient` is let go of too.
   * @param ofStatistics gradients of statistics; what is missing is zero
   */
  backward(
    passed: Passed,
    outputGradient: Value | undefined,
    run: RunValues,
    ofStatistics?: StatisticGradients,
  ): Promise<Value | undefined>;
  /** Lets go of what forward left, but for y. */
  forget(passed: Passed): void;
}

export interface PassesOptions {
  readonly architecture: BlockStack;
  readonly method: BoundMethod | undefined;
  readonly weights: WeightStore;
  readonly parameters: ParameterSet;
  readonly runtime: Runtime;
  readonly memory: "fast" | "lean";
  readonly pool: BufferPool;
  readonly bind: Bind;
}

/** Shapes of batches whose traced segments are kept. */
const KEPT_SHAPES = 24;

export function createPasses(options: PassesOptions): Passes {
  const { architecture, method, parameters, memory, pool, bind } = options;
  const { layers, hiddenSize } = architecture.dimensions;
  const segments = new Map<string, Promise<Segment>>();
  const widths: Partial<Record<Part, number>> = {
    expert: expertWidth(hiddenSize),
    fromExperts: joinedWidth(hiddenSize),
  };
  const sparse = Array.from({ length: layers }, (_, layer) => architecture.sparse(layer));
  const partCount = sparse.reduce((sum, pieces) => sum + 1 + (pieces?.count ?? 0), 1);

  const segmentFor = (request: SegmentRequest): Promise<Segment> =>
    remember(segments, JSON.stringify(request), KEPT_SHAPES * partCount, () => {
      const { layer, part, shape, rows, gradients, ofInput } = request;
      const tracer = createTracer(options, shape);
      const attention = (x: Tensor) => architecture.attention(layer, x, tracer.scope);
      const feedForward = (x: Tensor) => architecture.feedForward?.(layer, x, tracer.scope) ?? x;
      const toExperts = (x: Tensor) => enterExperts(sparse[layer]!, x, tracer.scope);
      const parts: Record<Part, (x: Tensor) => Tensor> = {
        attention,
        feedForward,
        block: (x) => feedForward(attention(x)),
        finalNorm: (x) => architecture.finalNorm(x, tracer.scope),
        blockToExperts: (x) => toExperts(attention(x)),
        toExperts,
        expert: (x) => weightedExpert(sparse[layer]!, request.expert!, x, tracer.scope),
        fromExperts: (x) => leaveExperts(sparse[layer]!, x, tracer.scope),
        enter: (x) => blockEntry(architecture, method)!(x, tracer),
        embed: (x) => method!.embed!(x, tracer.methodScope),
        virtualTokens: () => method!.virtualTokens!.states(tracer.methodScope),
      };
      return compileSegment(options, tracer, parts[part], {
        inputShape: request.inputShape ?? [rows, widths[part] ?? hiddenSize],
        inputNeedsGradient: ofInput,
        differentiate: gradients,
        memory,
        costlyInnerLength: Math.min(192, hiddenSize),
      });
    });

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
          case "statisticGradient":
            return own.statisticGradients![feed.index]!;
          default:
            return bind(feed, slot, run);
        }
      }),
      into,
    );

  const forget = ({ x, statistics, saved }: Passed) => {
    for (const value of [x, ...statistics, ...saved]) pool.give(value);
  };

  return {
    forget,
    async forward(request, x, run) {
      const segment = await segmentFor(request);
      const y = pool.take(segment.outputShape);
      const statistics = segment.statistics.map(({ shape }) => pool.take(shape));
      const saved = segment.savedShapes.map((shape) => pool.take(shape));
      await runStep(segment.forward, { x, saved }, run, [y, ...statistics, ...saved]);
      return { segment, x, y, statistics, saved };
    },
    async backward(passed, outputGradient, run, ofStatistics = {}) {
      const { segment, x, saved } = passed;
      let inputGradient: Value | undefined;
      if (segment.backward && outputGradient) {
        const ofInput = segment.givesInputGradient ? [pool.take(x.dims)] : [];
        const ofParameters = segment.trained.map((spec) => pool.take(spec.shape));
        const statisticGradients = segment.statistics.map(({ reporter, name, shape }) =>
          floats(ofStatistics[reporter]?.get(name) ?? new Float32Array(sizeOf(shape)), shape),
        );
        await runStep(segment.backward, { x, saved, outputGradient, statisticGradients }, run, [
          ...ofInput,
          ...ofParameters,
        ]);
        segment.trained.forEach((spec, i) => {
          addGradient(parameters.parameter(spec), floatData(ofParameters[i]!));
          pool.give(ofParameters[i]!);
        });
        inputGradient = ofInput[0];
      }
      forget(passed);
      if (outputGradient) pool.give(outputGradient);
      return inputGradient;
    },
  };
}

interface OwnValues {
  readonly x: Value;
  readonly saved: readonly Value[];
  readonly outputGradient?: Value;
  readonly statisticGradients?: readonly Value[];
}
