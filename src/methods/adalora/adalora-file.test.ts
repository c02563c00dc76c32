// What AdaLoRA's file says of the plan: PEFT opens it whether there was a run or not.

import { expect, it } from "vitest";
import type { ParameterSpec } from "../method.ts";
import { bindMethod } from "../registry.ts";
import { describeModel } from "../testing/description.ts";
import type { AdaloraOptions } from "./adalora-options.ts";

/** The configuration that is saved, of a run with this plan. */
function planOf(options: Omit<AdaloraOptions, "name">, plan: readonly number[]) {
  const method = bindMethod({ name: "adalora", targets: ["q_proj"], ...options }, describeModel());
  if (method.saved === "checkpoint" || typeof method.saved.config !== "function")
    throw new Error("no configuration that follows from a run");
  const values = ({ key, shape }: ParameterSpec) =>
    Float32Array.from(key === "adalora.plan" ? plan : { length: shape[0]! }, Number);
  const { total_step, tinit, tfinal } = method.saved.config(values);
  return [total_step, tinit, tfinal];
}

const NO_RUN = [0, 0, 0];

it.each([
  ["the run's", { initialSteps: 5 }, [40, 5, 12], [40, 5, 12]],
  ["the options', where there was none", { totalSteps: 50, finalSteps: 9 }, NO_RUN, [50, 0, 9]],
  ["none that would leave no step for pruning", { initialSteps: 5 }, NO_RUN, [1, 0, 0]],
])("the plan is %s", (_, options, plan, expected) => {
  expect(planOf(options, plan)).toEqual(expected);
});
