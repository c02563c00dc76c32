// AdaLoRA's pruning as a schedule of the method's own: when it begins and ends, and what happens after
// each step.

import { TunesmithError } from "../../errors.ts";
import type { MethodSchedule, ParameterValues } from "../method.ts";
import { type AdaloraModule, PLAN, type ScoredParameter } from "./adalora-modules.ts";
import type { AdaloraSettings } from "./adalora-options.ts";
import {
  allocate,
  type BudgetPlan,
  budgetAt,
  type Factor,
  lastAllocation,
  type Triplets,
  updateImportance,
  zeroDropped,
} from "./rank-allocation.ts";

/** The pruning that PEFT's users call `update_and_allocate` for, at the place that its page shows. */
export function rankSchedule(
  options: AdaloraSettings,
  modules: readonly AdaloraModule[],
): MethodSchedule {
  const { initialRank, targetRank, interval, beta1, beta2 } = options;
  const planOf = (values: ParameterValues): BudgetPlan => {
    const [totalSteps = 0, initialSteps = 0, finalSteps = 0] = values(PLAN);
    return {
      totalSteps,
      initialSteps,
      finalSteps,
      interval,
      initialBudget: initialRank * modules.length,
      targetBudget: targetRank * modules.length,
    };
  };
  return {
    check(runSteps) {
      stepsOfPlan(options, runSteps);
    },
    begin(runSteps, values) {
      values(PLAN).set(stepsOfPlan(options, runSteps));
    },
    afterStep(step, values, gradients, gradientScale) {
      const plan = planOf(values);
      const last = lastAllocation(plan);
      const factor = ({ spec, sensitivity, uncertainty }: ScoredParameter): Factor => ({
        values: values(spec),
        gradient: gradients(spec),
        sensitivity: values(sensitivity),
        uncertainty: values(uncertainty),
      });
      const triplets = modules.map(
        ({ rank, a, b, e, kept }): Triplets => ({
          rank,
          a: factor(a),
          b: factor(b),
          e: factor(e),
          kept: values(kept),
        }),
      );
      if (step < plan.totalSteps - plan.finalSteps)
        for (const { a, b, e } of triplets)
          for (const part of [a, b, e]) updateImportance(part, gradientScale, beta1, beta2);
      const budget = budgetAt(step, plan);
      if (budget !== undefined) allocate(triplets, budget);
      else if (step > last) triplets.forEach(zeroDropped);
    },
  };
}

/**
 * Total, initial and final steps.
 * @throws TunesmithError (config) where nothing is left for pruning, or nothing says how long training is
 */
function stepsOfPlan(
  { totalSteps, initialSteps, finalSteps }: AdaloraSettings,
  runSteps: number | undefined,
): [number, number, number] {
  const total = totalSteps ?? runSteps;
  if (total === undefined)
    throw new TunesmithError("config", {
      where: "method.totalSteps",
      rule: "AdaLoRA's ranks follow a plan over all steps of the training",
      seen: "training without a known number of steps",
      fix: "say how many there will be, such as totalSteps: 1000 (in a recipe: train.maxSteps)",
    });
  const initial = initialSteps ?? Math.floor(total / 10);
  const final = finalSteps ?? Math.max(1, Math.floor((3 * total) / 10));
  if (initial < total - Math.max(1, final)) return [total, initial, final];
  throw new TunesmithError("config", {
    where: "method.initialSteps, method.finalSteps",
    rule: "there are steps left for pruning between the initial and the final ones",
    seen: `${initial} initial and ${final} final steps of ${total}`,
    fix: "use fewer of them, or train for more steps",
  });
}
