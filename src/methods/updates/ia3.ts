// (IA)³ (Liu et al. 2022): vectors l that scale what keys and values give, and what the feed-forward's
// last product takes in. Names and file format are those of PEFT's `IA3Config`.

import { z } from "zod";
import { nearest, TunesmithError } from "../../errors.ts";
import type { JsonObject } from "../../hub/index.ts";
import { multiply, reshape } from "../../tensor/index.ts";
import { adaptedModuleKeys, adaptedModules, peftPath, shownTargets } from "../adapted-modules.ts";
import { boundUpdate, type ModuleUpdate } from "../bound-update.ts";
import type { BoundMethod, MethodDefinition, ModelDescription } from "../method.ts";
import { completeOptions, derived, moduleNames } from "../option-schema.ts";
import { filledSpec } from "../parts/initial-values.ts";
import { scaleRows } from "../parts/merge-weights.ts";
import { PEFT_MODULE_KEYS, type PeftLayout, peftKind, toPeftConfig } from "../peft-format.ts";
import { compilePattern, type LinearModule } from "../targets.ts";

const ia3Schema = z.strictObject({
  name: z
    .literal("ia3")
    .describe("Trained vectors that scale keys, values and the feed-forward (Liu et al. 2022)."),
  ...adaptedModuleKeys,
  targets: z
    .union([z.string(), moduleNames.min(1)])
    .optional()
    .describe("Layers that are scaled: names, a regex, or all-linear.")
    .meta(derived("keys, values and the feed-forward's last product, as PEFT names them")),
  feedforward: z
    .union([z.string(), moduleNames])
    .optional()
    .describe("Those of them whose input is scaled instead of their output, as names or a regex.")
    .meta(derived("the feed-forward's last product")),
});

export type Ia3Options = z.input<typeof ia3Schema>;

const layout: PeftLayout = {
  type: "IA3",
  keys: {
    targets: PEFT_MODULE_KEYS.targets,
    exclude: PEFT_MODULE_KEYS.exclude,
    modulesToSave: PEFT_MODULE_KEYS.modulesToSave,
    feedforward: "feedforward_modules",
  },
  unused: { fan_in_fan_out: false, init_ia3_weights: true },
};

/** @throws TunesmithError (config) for targets that the model does not have */
function bindIa3(given: Ia3Options, model: ModelDescription): BoundMethod {
  const { scaledOutputs, scaledInputs } = model.usualTargets;
  const {
    targets = [...scaledOutputs, ...scaledInputs],
    feedforward = [...scaledInputs],
    ...rest
  } = completeOptions(ia3Schema, given);
  const options: Ia3Settings = { ...rest, targets, feedforward };
  const adapted = adaptedModules(model, options);
  const isFeedforward = feedforwardRule(options, given.feedforward, adapted.modules);
  return boundUpdate(
    "ia3",
    adapted,
    (module) => (isFeedforward(module.path) ? scaledInput(module) : scaledOutput(module)),
    { config: savedConfig(options, model, adapted.modules, isFeedforward) },
  );
}

const vectorKey = (path: string) => `${peftPath(path)}.ia3_l`;

/** W (l ∘ x) + b */
function scaledInput({ path, inputSize }: LinearModule): ModuleUpdate {
  const vector = filledSpec(vectorKey(path), [1, inputSize], 1);
  return {
    parameters: [vector],
    apply: (x, base, scope) => base(multiply(x, scope.parameter(vector))),
    mergeWeight(weight, values) {
      const scales = values(vector);
      for (let i = 0; i < weight.length; i++) weight[i]! *= scales[i % inputSize]!;
    },
  };
}

/** l ∘ (W x + b) */
function scaledOutput({ path, inputSize, outputSize }: LinearModule): ModuleUpdate {
  const vector = filledSpec(vectorKey(path), [outputSize, 1], 1);
  return {
    parameters: [vector],
    apply: (x, base, scope) => multiply(base(x), reshape(scope.parameter(vector), [1, outputSize])),
    mergeWeight: (weight, values) => scaleRows(weight, inputSize, values(vector)),
    mergeBias: (bias, values) => scaleRows(bias, 1, values(vector)),
  };
}

type Ia3Settings = z.output<typeof ia3Schema> &
  Required<Pick<z.output<typeof ia3Schema>, "targets" | "feedforward">>;

/**
 * PEFT's rule: a regular expression for whole paths, or endings of paths.
 * @throws TunesmithError (config) for a name that `named` lists and no adapted module has
 */
function feedforwardRule(
  { feedforward }: Ia3Settings,
  named: Ia3Options["feedforward"],
  modules: readonly LinearModule[],
): (path: string) => boolean {
  if (typeof feedforward === "string") {
    const pattern = compilePattern(`^(?:${feedforward})$`, feedforward, "method.feedforward");
    return (path) => pattern.test(path);
  }
  const unknown = [named ?? []]
    .flat()
    .filter((name) => !modules.some(({ path }) => path.endsWith(name)));
  if (unknown.length > 0) {
    const known = modules.map(({ path }) => path.split(".").at(-1)!);
    throw new TunesmithError(
      "config",
      unknown.map((name) => ({
        where: "method.feedforward",
        rule: "every entry is one of the targets",
        seen: `${JSON.stringify(name)}, where the targets are ${[...new Set(known)].join(", ")}`,
        fix: `add it to the targets, or name one of them (nearest: ${JSON.stringify(nearest(name, known) ?? known[0])})`,
      })),
    );
  }
  return (path) => feedforward.some((name) => path.endsWith(name));
}

/** PEFT wants names of the feed-forward to be among the targets letter by letter; else by paths. */
function savedConfig(
  options: Ia3Settings,
  model: ModelDescription,
  modules: readonly LinearModule[],
  ofInput: (path: string) => boolean,
): JsonObject {
  const config = toPeftConfig(layout, options, model, modules);
  const { feedforward } = options;
  const { target_modules: targets } = config;
  if (typeof feedforward === "string" || !Array.isArray(targets))
    return { ...config, feedforward_modules: feedforward };
  if (feedforward.every((name) => targets.includes(name)))
    return { ...config, feedforward_modules: [...feedforward] };
  const paths = modules.map(({ path }) => path);
  return { ...config, target_modules: paths, feedforward_modules: paths.filter(ofInput) };
}

export const ia3 = {
  schema: ia3Schema,
  learningRate: 3e-3,
  describe: ({ targets }) =>
    `(IA)³ on ${targets ? shownTargets(targets) : "keys, values and the feed-forward"}`,
  bind: bindIa3,
  peft: peftKind(ia3Schema, layout),
} satisfies MethodDefinition<Ia3Options>;
