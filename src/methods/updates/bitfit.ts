// BitFit (Ben Zaken et al. 2022): biases are all that is trained. Each layer gets a trained offset of
// its output, beside the bias it has or in place of the one it lacks, as PEFT's `BeftConfig` (Huang et
// al. 2025, the same for value projections) stores it.

import { z } from "zod";
import { add } from "../../tensor/index.ts";
import { adaptedModuleKeys, adaptedModules, peftPath, shownTargets } from "../adapted-modules.ts";
import { boundUpdate, type ModuleUpdate } from "../bound-update.ts";
import type { BoundMethod, MethodDefinition, ModelDescription } from "../method.ts";
import { completeOptions } from "../option-schema.ts";
import { zeroSpec } from "../parts/initial-values.ts";
import { PEFT_MODULE_KEYS, type PeftLayout, peftKind, toPeftConfig } from "../peft-format.ts";
import type { LinearModule } from "../targets.ts";

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
  const adapted = adaptedModules(model, options);
  return boundUpdate("bitfit", adapted, offset, {
    config: toPeftConfig(layout, options, model, adapted.modules),
  });
}

function offset({ path, outputSize, hasBias }: LinearModule): ModuleUpdate {
  const bias = zeroSpec(`${peftPath(path)}.beft_bias`, [1, outputSize]);
  return {
    parameters: [bias],
    apply: (x, base, scope) => add(base(x), scope.parameter(bias)),
    mergeBias(data, values) {
      values(bias).forEach((value, i) => {
        data[i]! += value;
      });
    },
    unmergeable: hasBias ? undefined : `a bias for ${path}, which the architecture has none of`,
  };
}

export const bitfit = {
  schema: bitfitSchema,
  learningRate: 1e-3,
  describe: ({ targets }) => `BitFit, biases of ${shownTargets(targets)}`,
  bind: bindBitfit,
  peft: peftKind(bitfitSchema, layout),
} satisfies MethodDefinition<BitfitOptions>;
