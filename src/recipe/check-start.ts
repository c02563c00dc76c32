// What keeps a run from starting and is known from the recipe, the model's header and the number of
// samples: told alike by the plan, and by training before it reads a large model.

import { probeFor } from "../engine/starting-data.ts";
import type { Runtime } from "../runtime/kernel.ts";
import { completeSettings, planSteps, type StepPlan } from "../train/index.ts";
import type { RecipeData } from "./data.ts";
import { bindRecipeMethod, describeRecipeModel, type Prepared } from "./prepare.ts";
import { trainingSettings } from "./settings.ts";

/**
 * The steps of a run.
 * @throws TunesmithError (config) for a method whose own plan does not fit them; (checkpoint) for adapters
 *   that it starts from and that do not fit the model
 */
export async function checkStart(prepared: Prepared, data: RecipeData): Promise<StepPlan> {
  const settings = completeSettings(
    trainingSettings(prepared.recipe),
    data.evaluation !== undefined,
  );
  const plan = planSteps(settings, data.train.batchesPerEpoch);
  const method = bindRecipeMethod(prepared);
  method.schedule?.check(plan.totalSteps);
  await method.checkFiles?.();
  return plan;
}

/** @throws TunesmithError (config) for a look at data that the method's options do not allow */
export function checkLook(prepared: Prepared, data: RecipeData, runtime: Runtime): void {
  const batches = (pass: number) => data.train.epoch(pass);
  probeFor(prepared.recipe.method, describeRecipeModel(prepared), { data: { batches } }, runtime);
}
