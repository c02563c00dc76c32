// Losses beside the objective's: the method's and the architecture's, each of what it reported itself
// from all layers together, and the method's of its tensors, which no layer needs to run for.

import type { BoundMethod, TensorLoss } from "../methods/index.ts";
import type { AuxiliaryLossOf } from "../models/index.ts";
import type { Kernel, Runtime } from "../runtime/kernel.ts";
import { floatData, floats } from "../runtime/values.ts";
import { gradient, input, reshape } from "../tensor/index.ts";
import type { BlockPassed } from "./blocks.ts";
import type { GradientOptions } from "./model.ts";
import { addGradient, type ParameterSet } from "./parameters.ts";
import type { StatisticGradients } from "./passes.ts";
import { REPORTERS, type Reporter } from "./trace.ts";

/** Their sum, and gradients that are already scaled; undefined where there is none. */
export function auxiliaryLoss(
  losses: Readonly<Record<Reporter, AuxiliaryLossOf | undefined>>,
  passed: readonly BlockPassed[],
  { auxiliaryScale = 1 }: GradientOptions,
): { readonly loss: number; readonly gradients: StatisticGradients } | undefined {
  let total: number | undefined;
  const scaled: Partial<Record<Reporter, ReadonlyMap<string, Float32Array>>> = {};
  for (const reporter of REPORTERS) {
    const lossOf = losses[reporter];
    if (!lossOf) continue;
    const { loss, gradients } = lossOf(statisticsOf(reporter, passed));
    total = (total ?? 0) + loss;
    scaled[reporter] = new Map(
      [...gradients].map(([name, values]) => [name, values.map((value) => value * auxiliaryScale)]),
    );
  }
  return total === undefined ? undefined : { loss: total, gradients: scaled };
}

/** Adds the gradients of a method's losses of its tensors; tells their sum, undefined where it has none. */
export type AddTensorLosses = (options: GradientOptions) => Promise<number | undefined>;

/** Compiles the losses where they are asked for first: tensors of one shape share a kernel. */
export function tensorLosses(
  method: BoundMethod | undefined,
  { parameter }: ParameterSet,
  runtime: Runtime,
): AddTensorLosses {
  const kernels = new Map<TensorLoss, Promise<Kernel>>();
  const kernelOf = (term: TensorLoss) => {
    const known = kernels.get(term) ?? compileLoss(term, runtime);
    kernels.set(term, known);
    return known;
  };
  return async ({ auxiliaryScale = 1 }) => {
    if (!method?.tensorLosses) return undefined;
    const scale = floats(Float32Array.of(auxiliaryScale), [1]);
    let total = 0;
    for (const term of method.tensorLosses) {
      const { data, shape } = parameter(term.spec);
      const kernel = await kernelOf(term);
      const [loss, ofTensor] = await kernel.run([floats(data, shape), scale]);
      addGradient(parameter(term.spec), floatData(ofTensor!));
      total += floatData(loss!)[0]!;
    }
    return total;
  };
}

/** From a tensor and the scale of its gradient to the loss and that gradient. */
function compileLoss({ spec, loss: lossOf }: TensorLoss, runtime: Runtime): Promise<Kernel> {
  const [tensor, scale] = [input("tensor", spec.shape), input("scale", [1])];
  const loss = reshape(lossOf(tensor), [1]);
  const [ofTensor] = gradient([[loss, scale]], [tensor]);
  return runtime.compile([loss, ofTensor!], [tensor, scale]);
}

/** What one reported, by name. */
const statisticsOf = (own: Reporter, passed: readonly BlockPassed[]) =>
  new Map(
    passed
      .flatMap(({ reported }) => reported)
      .flatMap(({ segment, statistics }) =>
        segment.statistics.flatMap(({ reporter, name }, i) =>
          reporter === own ? [[name, floatData(statistics[i]!)] as const] : [],
        ),
      ),
  );
