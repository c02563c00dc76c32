// LayerNorm tuning (Zhao et al. 2023): the weights of the norms are trained and nothing else. Names and
// file format are those of PEFT's `LNTuningConfig`.

import { z } from "zod";
import { nearest, TunesmithError } from "../../errors.ts";
import { peftPath } from "../adapted-modules.ts";
import type { BoundMethod, MethodDefinition, ModelDescription, ParameterSpec } from "../method.ts";
import { completeOptions, moduleNames } from "../option-schema.ts";
import { PEFT_MODULE_KEYS, type PeftLayout, peftKind, toPeftConfig } from "../peft-format.ts";
import { savedModules, trainedWeight } from "../saved-modules.ts";
import { matcher } from "../targets.ts";

const lnTuningSchema = z.strictObject({
  name: z.literal("ln-tuning").describe("The weights of the norms are trained (Zhao et al. 2023)."),
  targets: z
    .union([z.string(), moduleNames.min(1)])
    .optional()
    .describe("Norms that are trained, as names or a regex.")
    .meta({ derived: "all norms" }),
  exclude: z
    .union([z.string(), moduleNames])
    .default([])
    .describe("Norms that are left alone, as names or a regex."),
  modulesToSave: moduleNames
    .default([])
    .describe("Modules to train in full and save with the adapter."),
});

export type LnTuningOptions = z.input<typeof lnTuningSchema>;

const layout: PeftLayout = {
  type: "LN_TUNING",
  keys: {
    targets: PEFT_MODULE_KEYS.targets,
    exclude: PEFT_MODULE_KEYS.exclude,
    modulesToSave: PEFT_MODULE_KEYS.modulesToSave,
  },
};

/** @throws TunesmithError (config) for targets that are no norms of the model */
function bindLnTuning(given: LnTuningOptions, model: ModelDescription): BoundMethod {
  const options = completeOptions(lnTuningSchema, given);
  const paths = chosenNorms(options, model);
  const replaces = new Map<string, ParameterSpec>();
  for (const weight of model.weights) {
    const [, path, kind] = /^(.*)\.(weight|bias)$/.exec(weight.name) ?? [];
    if (path === undefined || !paths.includes(path)) continue;
    const key = `${peftPath(path)}.ln_tuning_layers.${kind}`;
    replaces.set(weight.name, trainedWeight(weight, key));
  }
  for (const [use, spec] of savedModules(model, options.modulesToSave)) replaces.set(use, spec);
  const names = [...new Set(paths.map((path) => path.split(".").at(-1)!))];
  return {
    name: "ln-tuning",
    parameters: [...replaces.values()],
    replaces,
    saved: { config: toPeftConfig(layout, { targets: names, ...options }, model, []) },
  };
}

function chosenNorms(
  { targets, exclude }: z.output<typeof lnTuningSchema>,
  model: ModelDescription,
): string[] {
  const norms = model.weights
    .filter(({ name, role }) => role === "norm" && name.endsWith(".weight"))
    .map(({ name }) => name.replace(/\.weight$/, ""));
  const names = [...new Set(norms.map((path) => path.split(".").at(-1)!))];
  const unknown = (typeof targets === "string" ? [] : (targets ?? [])).filter(
    (name) => !norms.some(matcher([name], "method.targets")),
  );
  const unwanted = matcher(exclude, "method.exclude");
  const wanted = targets === undefined ? () => true : matcher(targets, "method.targets");
  const chosen = norms.filter((path) => wanted(path) && !unwanted(path));
  const faults = unknown.map((name) => ({
    where: "method.targets",
    rule: "every target names a norm of the model",
    seen: `${JSON.stringify(name)} matches none of ${names.join(", ")}`,
    fix: `nearest is ${JSON.stringify(nearest(name, names) ?? names[0])}`,
  }));
  if (faults.length === 0 && chosen.length === 0)
    faults.push({
      where: "method.targets",
      rule: "targets and exclude leave at least one norm",
      seen: `none of ${names.join(", ")}`,
      fix: "leave targets and exclude out: all norms are trained then",
    });
  if (faults.length > 0) throw new TunesmithError("config", faults);
  return chosen;
}

export const lnTuning = {
  schema: lnTuningSchema,
  learningRate: 1e-3,
  describe: ({ targets }) =>
    `the norms' weights${targets ? ` (${[targets].flat().join(", ")})` : ""}`,
  bind: bindLnTuning,
  peft: peftKind(lnTuningSchema, layout),
} satisfies MethodDefinition<LnTuningOptions>;
