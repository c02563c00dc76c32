// A segment is a piece of a model, mostly a layer, compiled as two kernels: forward, and backward from what
// forward saved. Everything else that backward needs is recomputed inside it.

import type { ParameterSpec } from "../methods/index.ts";
import type { Kernel, Runtime } from "../runtime/kernel.ts";
import {
  chooseSaved,
  gradient,
  input,
  isCostly,
  type Shape,
  type Tensor,
  topologicalOrder,
} from "../tensor/index.ts";
import { heldBy } from "./held-weights.ts";
import { type Binding, REPORTERS, type Reporter, type Tracer } from "./trace.ts";
import type { WeightStore } from "./weights/weights.ts";

/** What a kernel's input is: a value of this segment, or something bound by name. */
export type Feed = { readonly kind: "x" | "outputGradient" } | IndexedFeed | Binding;
interface IndexedFeed {
  readonly kind: "saved" | "statisticGradient";
  readonly index: number;
}

export interface Step {
  readonly kernel: Kernel;
  readonly feeds: readonly Feed[];
}

export interface Segment {
  readonly outputShape: Shape;
  /** Outputs: the segment's output, the statistics, then what is saved. */
  readonly forward: Step;
  /** What was reported; each has a gradient to be given to the backward kernel. */
  readonly statistics: readonly Statistic[];
  readonly savedShapes: readonly Shape[];
  /** Outputs: the gradient of x (where wanted), then that of each parameter. */
  readonly backward?: Step;
  readonly givesInputGradient: boolean;
  readonly trained: readonly ParameterSpec[];
}

export interface Statistic {
  readonly reporter: Reporter;
  readonly name: string;
  readonly shape: Shape;
}

export interface SegmentOptions {
  readonly inputShape: Shape;
  /** Whether something before this segment is trained, so that x needs a gradient. */
  readonly inputNeedsGradient: boolean;
  /** Whether to build the backward kernel at all. */
  readonly differentiate: boolean;
  /** "fast" saves what is costly to make again, "lean" nothing but x. */
  readonly memory: "fast" | "lean";
  /** Products with a shorter inner axis are made again in the backward pass also when "fast". */
  readonly costlyInnerLength: number;
}

export async function compileSegment(
  { runtime, weights }: { runtime: Runtime; weights: Pick<WeightStore, "blocks"> },
  tracer: Tracer,
  trace: (x: Tensor) => Tensor,
  options: SegmentOptions,
): Promise<Segment> {
  const x = input("x", options.inputShape);
  const y = trace(x);
  const statistics = REPORTERS.flatMap((reporter) =>
    [...tracer.statistics[reporter]].map(([name, value]) => ({ reporter, name, value })),
  );
  const reported = statistics.map(({ value }) => value);
  const parameters = tracer.parameterInputs();
  const trained = [...parameters.keys()];
  const { inputNeedsGradient } = options;
  const differentiable = options.differentiate && (inputNeedsGradient || trained.length > 0);

  const seed = input("outputGradient", y.shape);
  const statisticSeeds = statistics.map(({ reporter, name, value }) =>
    input(`gradient ${reporter} ${name}`, value.shape),
  );
  const seeds: [Tensor, Tensor][] = [
    [y, seed],
    ...reported.map((value, i): [Tensor, Tensor] => [value, statisticSeeds[i]!]),
  ];
  const wanted = [...(inputNeedsGradient ? [x] : []), ...parameters.values()];
  const gradients = differentiable
    ? gradient(seeds, wanted).map((value, i) => value ?? missing(wanted[i]!))
    : [];
  const saved =
    differentiable && options.memory === "fast"
      ? chooseSaved([y, ...reported], gradients, isCostly(options.costlyInnerLength))
      : [];

  const feedOf = (tensor: Tensor): Feed => {
    if (tensor === x) return { kind: "x" };
    if (tensor === seed) return { kind: "outputGradient" };
    const index = saved.indexOf(tensor);
    if (index >= 0) return { kind: "saved", index };
    const statistic = statisticSeeds.indexOf(tensor);
    if (statistic >= 0) return { kind: "statisticGradient", index: statistic };
    return tracer.bindings.get(tensor)!;
  };
  const compile = async (outputs: readonly Tensor[], stopAt: ReadonlySet<Tensor>) => {
    const given = topologicalOrder(outputs, stopAt).filter(
      (tensor) => stopAt.has(tensor) || tensor.operator === "input",
    );
    const feeds = new Map(given.map((tensor) => [tensor, feedOf(tensor)]));
    const held = heldBy(feeds, weights);
    const kernel = await runtime.compile(outputs, [...feeds.keys()], held);
    return { kernel, feeds: [...feeds.values()] };
  };
  return {
    outputShape: y.shape,
    forward: await compile([y, ...reported, ...saved], new Set()),
    statistics: statistics.map(({ value: { shape }, ...rest }) => ({ ...rest, shape })),
    savedShapes: saved.map((tensor) => tensor.shape),
    backward: differentiable ? await compile(gradients, new Set(saved)) : undefined,
    givesInputGradient: inputNeedsGradient,
    trained,
  };
}

function missing(tensor: Tensor): never {
  const name = tensor.operator === "input" ? tensor.attributes.name : tensor.operator;
  throw new Error(`${name} is trained but does not affect the output`);
}
