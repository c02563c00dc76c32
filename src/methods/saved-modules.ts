// Modules and biases that are trained as they are, beside what a PEFT method adds to others.

import { nearest, TunesmithError } from "../errors.ts";
import type { WeightSpec } from "../models/index.ts";
import type { ModelDescription, ParameterSpec } from "./method.ts";
import type { LinearModule } from "./targets.ts";

/** A weight of the checkpoint as a parameter that starts from its value. */
export function trainedWeight(weight: WeightSpec, key: string): ParameterSpec {
  return { key, shape: weight.shape, initial: (_random, base) => base(weight.name) };
}

/**
 * PEFT's `modules_to_save`: whole modules, each trained as a copy of its own, also where the
 * checkpoint ties it to another.
 * @throws TunesmithError (config) for a name that is no module of the model
 */
export function savedModules(
  model: ModelDescription,
  names: readonly string[],
): Map<string, ParameterSpec> {
  const replaces = new Map<string, ParameterSpec>();
  const output: WeightSpec = {
    ...model.weights.find((weight) => weight.name === model.outputName)!,
    role: "output",
  };
  const uses = [
    ...model.weights.map((weight) => ({ use: weight.name, weight })),
    { use: `${model.outputPath}.weight`, weight: output },
  ];
  // PEFT names a classifier's head by both names that there are.
  const isOther = (name: string) => model.classifier && name === "classifier";
  for (const name of names.filter((each) => !isOther(each))) {
    const found = uses.filter(({ use }) => {
      // As in PEFT "norm" means every "input_layernorm" too.
      return use.replace(/\.[^.]+$/, "").endsWith(name);
    });
    if (found.length === 0) {
      const modules = uses.map(({ use }) => use.split(".").at(-2)!);
      throw new TunesmithError("config", {
        where: "method.modulesToSave",
        rule: "every entry names a module with weights",
        seen: JSON.stringify(name),
        fix: `nearest is ${JSON.stringify(nearest(name, modules) ?? model.outputPath)}`,
      });
    }
    for (const { use, weight } of found)
      replaces.set(use, trainedWeight(weight, `base_model.model.${use}`));
  }
  return replaces;
}

/** PEFT's `bias` option: "all" trains every bias, "lora_only" those of adapted modules. */
export function trainedBiases(
  model: ModelDescription,
  which: "none" | "all" | "lora_only",
  adapted: readonly LinearModule[],
): Map<string, ParameterSpec> {
  const replaces = new Map<string, ParameterSpec>();
  if (which === "none") return replaces;
  const wrapped = new Set(adapted.map((module) => module.path));
  for (const weight of model.weights.filter((spec) => spec.role === "bias")) {
    const path = weight.name.replace(/\.bias$/, "");
    if (which === "lora_only" && !wrapped.has(path)) continue;
    const key = wrapped.has(path) ? `${path}.base_layer.bias` : weight.name;
    replaces.set(weight.name, trainedWeight(weight, `base_model.model.${key}`));
  }
  return replaces;
}
