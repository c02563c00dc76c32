// What methods that change linear modules have in common: the options by which these are chosen, and
// the biases and whole modules that are trained besides.

import type { ModelDescription, ParameterSpec } from "./method.ts";
import { moduleNames, targetKeys } from "./option-schema.ts";
import { savedModules, trainedBiases } from "./saved-modules.ts";
import { type LinearModule, selectTargets } from "./targets.ts";

/** Keys of a method's schema: which modules it changes, and which are trained as they are. */
export const adaptedModuleKeys = {
  ...targetKeys,
  modulesToSave: moduleNames
    .default([])
    .describe("Modules to train in full and save with the adapter."),
};

/** What the key `bias` means; its third choice PEFT names after the method. */
export const BIAS_MEANING = "Biases to train as well: none, all, or those of the adapted layers.";

/** Options of `adaptedModuleKeys` and `bias`, complete. */
export interface AdaptedModuleOptions {
  readonly targets: string | readonly string[];
  readonly exclude: string | readonly string[];
  readonly layersToTransform?: readonly number[] | undefined;
  readonly modulesToSave: readonly string[];
  readonly bias?: string;
}

export interface AdaptedModules<Module extends LinearModule = LinearModule> {
  readonly modules: readonly Module[];
  /** For `BoundMethod.replaces`. */
  readonly replaces: ReadonlyMap<string, ParameterSpec>;
}

/** The prefix of a module's tensors in PEFT's files. */
export const peftPath = (path: string): string => `base_model.model.${path}`;

/**
 * The modules that a method changes; those that are trained in full are left out.
 * @throws TunesmithError (config) for targets or modules that the model does not have
 */
export function adaptedModules(
  model: ModelDescription,
  options: AdaptedModuleOptions,
): AdaptedModules {
  const { targets, exclude, layersToTransform: layers, modulesToSave, bias = "none" } = options;
  const whole = savedModules(model, modulesToSave);
  const modules = selectTargets(model, { targets, exclude, layers }).filter(
    ({ path }) => !whole.has(`${path}.weight`),
  );
  const which = bias === "none" || bias === "all" ? bias : "lora_only";
  return { modules, replaces: new Map([...trainedBiases(model, which, modules), ...whole]) };
}

/** Targets as a person would say them. */
export const shownTargets = (targets: string | readonly string[] = "all-linear"): string =>
  [targets].flat().join(", ");
