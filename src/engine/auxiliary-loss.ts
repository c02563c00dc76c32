// Losses beside the objective's: the method's and the architecture's, each of what it reported itself
// from all layers together, and the method's of its tensors, which no layer needs to run for.

import type { BoundMethod } from "../methods/index.ts";
import type { AuxiliaryLossOf } from "../models/index.ts";
import { floatData } from "../runtime/values.ts";
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

/** Adds the gradients of a method's losses of its tensors; their sum, undefined where it has none. */
export function addTensorLosses(
  method: BoundMethod | undefined,
  { parameter }: ParameterSet,
  { auxiliaryScale = 1 }: GradientOptions,
): number | undefined {
  if (!method?.tensorLosses) return undefined;
  let total = 0;
  for (const { spec, loss, gradient } of method.tensorLosses((one) => parameter(one).data)) {
    addGradient(
      parameter(spec),
      gradient.map((value) => auxiliaryScale * value),
    );
    total += loss;
  }
  return total;
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
