// BitFit (Ben Zaken et al. 2022): biases are all that is trained. Each layer gets a trained offset of
// its output, beside the bias it has or in place of the one it lacks, as PEFT's `BeftConfig` (Huang et
// al. 2025, the same for value projections) stores it.

import { z } from "zod";
import { add } from "../../tensor/index.ts";
import { adaptedModuleKeys, adaptedModules, peftPath, shownTargets } from "../adapted-modules.ts";
import type { BoundMethod, MethodDefinition, ModelDescription, ParameterSpec } from "../method.ts";
import { completeOptions } from "../option-schema.ts";
import { fromPeftConfig, PEFT_MODULE_KEYS, type PeftLayout, toPeftConfig } from "../peft-format.ts";

const bitfitSchema = z.strictObject({
  name: z
    .literal("bitfit")
    .describe("Biases of the linear layers are trained (Ben Zaken et al. 2022)."),
  ...adaptedModuleKeys,
});

export type BitfitOptions = z.input<typeof bitfitSchema>;

const layout: PeftLayout = {
  type: "BEFT",
  keys: {
    targets: PEFT_MODULE_KEYS.targets,
    modulesToSave: PEFT_MODULE_KEYS.modulesToSave,
  },
  unused: { init_weights: true },
};

/** @throws TunesmithError (config) for targets that the model does not have */
function bindBitfit(given: BitfitOptions, model: ModelDescription): BoundMethod {
  const options = completeOptions(bitfitSchema, given);
  const { modules, replaces } = adaptedModules(model, options);
  const offsets = new Map<string, ParameterSpec>();
  for (const { path, outputSize } of modules)
    offsets.set(path, {
      key: `${peftPath(path)}.beft_bias`,
      shape: [1, outputSize],
      initial: async () => new Float32Array(outputSize),
    });
  const withoutBias = modules.find(({ hasBias }) => !hasBias);
  return {
    name: "bitfit",
    adapted: [...offsets.keys()],
    parameters: [...offsets.values(), ...replaces.values()],
    replaces,
    linear(path, x, base, scope) {
      const offset = offsets.get(path);
      return offset ? add(base(x), scope.parameter(offset)) : base(x);
    },
    ...(withoutBias
      ? { unmergeable: `a bias for ${withoutBias.path}, which the architecture has none of` }
      : {
          mergeInto(weight, data, values) {
            const offset = offsets.get(weight.replace(/\.bias$/, ""));
            if (!offset || !weight.endsWith(".bias")) return;
            values(offset).forEach((value, i) => {
              data[i]! += value;
            });
          },
        }),
    saved: { config: toPeftConfig(layout, options, model, modules) },
  };
}

export const bitfit = {
  schema: bitfitSchema,
  learningRate: 1e-3,
  describe: ({ targets }) => `BitFit, biases of ${shownTargets(targets)}`,
  bind: bindBitfit,
  peft: {
    type: layout.type,
    options: (config, folder) => fromPeftConfig(bitfitSchema, layout, config, folder),
  },
} satisfies MethodDefinition<BitfitOptions>;
