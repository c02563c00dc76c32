// Full fine-tuning: every weight of the checkpoint is trained, under its own name.

import { z } from "zod";
import type { BoundMethod, MethodDefinition, ModelDescription, ParameterSpec } from "../method.ts";
import { trainedWeight } from "../saved-modules.ts";

export interface FullOptions {
  readonly name: "full";
}

const fullSchema = z.strictObject({
  name: z.literal("full").describe("Every weight of the model is trained."),
});

function bindFull(_options: FullOptions, model: ModelDescription): BoundMethod {
  const parameters = model.weights.map((weight) => trainedWeight(weight, weight.name));
  const replaces = new Map<string, ParameterSpec>(parameters.map((spec) => [spec.key, spec]));
  // A tied output matrix is the same parameter under its second name.
  replaces.set(`${model.outputPath}.weight`, replaces.get(model.outputName)!);
  return { name: "full", parameters, replaces, saved: "checkpoint" };
}

export const full = {
  schema: fullSchema,
  learningRate: 2e-5,
  describe: () => "full fine-tuning",
  bind: bindFull,
} satisfies MethodDefinition<FullOptions>;
