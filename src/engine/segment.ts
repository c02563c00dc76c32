// A segment is a run of a model's layers compiled as two kernels: forward, and backward from what
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
import type { Binding, Tracer } from "./trace.ts";

/** What a kernel's input is: a value of this segment, or something bound by name. */
export type Feed = { readonly kind: "x" | "outputGradient" } | SavedFeed | Binding;
interface SavedFeed {
  readonly kind: "saved";
  readonly index: number;
}

export interface Step {
  readonly kernel: Kernel;
  readonly feeds: readonly Feed[];
}

export interface Segment {
  readonly outputShape: Shape;
  /** Outputs: the segment's output, then what is saved. */
  readonly forward: Step;
  readonly savedShapes: readonly Shape[];
  /** Outputs: the gradient of x (where wanted), then that of each parameter. */
  readonly backward?: Step;
  readonly givesInputGradient: boolean;
  readonly trained: readonly ParameterSpec[];
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
  runtime: Runtime,
  tracer: Tracer,
  trace: (x: Tensor) => Tensor,
  options: SegmentOptions,
): Promise<Segment> {
  const x = input("x", options.inputShape);
  const y = trace(x);
  const parameters = tracer.parameterInputs();
  const trained = [...parameters.keys()];
  const { inputNeedsGradient } = options;
  const differentiable = options.differentiate && (inputNeedsGradient || trained.length > 0);

  const seed = input("outputGradient", y.shape);
  const wanted = [...(inputNeedsGradient ? [x] : []), ...parameters.values()];
  const gradients = differentiable
    ? gradient([[y, seed]], wanted).map((value, i) => value ?? missing(wanted[i]!))
    : [];
  const saved =
    differentiable && options.memory === "fast"
      ? chooseSaved([y], gradients, isCostly(options.costlyInnerLength))
      : [];

  const feedOf = (tensor: Tensor): Feed => {
    if (tensor === x) return { kind: "x" };
    if (tensor === seed) return { kind: "outputGradient" };
    const index = saved.indexOf(tensor);
    return index >= 0 ? { kind: "saved", index } : tracer.bindings.get(tensor)!;
  };
  const compile = async (outputs: readonly Tensor[], stopAt: ReadonlySet<Tensor>) => {
    const given = topologicalOrder(outputs, stopAt).filter(
      (tensor) => stopAt.has(tensor) || tensor.operator === "input",
    );
    return { kernel: await runtime.compile(outputs, given), feeds: given.map(feedOf) };
  };
  return {
    outputShape: y.shape,
    forward: await compile([y, ...saved], new Set()),
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
