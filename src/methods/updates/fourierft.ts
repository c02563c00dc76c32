// FourierFT (Gao et al. 2024): what is added to a weight has few frequencies, W + s · Re(IDFT(F)), and
// their coefficients are trained. Names and files are those of PEFT's `FourierFTConfig`; which
// frequencies they are follows from a seed.

import { z } from "zod";
import { TunesmithError } from "../../errors.ts";
import { add, multiply, reshape } from "../../tensor/index.ts";
import {
  adaptedModuleKeys,
  adaptedModules,
  BIAS_MEANING,
  peftPath,
  shownTargets,
} from "../adapted-modules.ts";
import { boundUpdate, type ModuleUpdate } from "../bound-update.ts";
import type { BoundMethod, MethodDefinition, ModelDescription } from "../method.ts";
import { completeOptions, count } from "../option-schema.ts";
import { normalSpec, zeroSpec } from "../parts/initial-values.ts";
import { linearWith } from "../parts/low-rank.ts";
import { fromPeftConfig, PEFT_MODULE_KEYS, type PeftLayout, toPeftConfig } from "../peft-format.ts";
import { type LinearModule, patternValue } from "../targets.ts";
import {
  addWaves,
  ofBoth,
  type TensorPair,
  throughWaves,
  type WavePair,
  waves,
  weightOfWaves,
} from "./fourier-waves.ts";

const fourierSchema = z.strictObject({
  name: z
    .literal("fourierft")
    .describe("Coefficients of a few frequencies of what is added to weights (Gao et al. 2024)."),
  frequencies: count.default(1000).describe("Trained coefficients of each layer."),
  scaling: z.number().positive().default(150).describe("Strength of what is added."),
  ...adaptedModuleKeys,
  frequencyPattern: z
    .record(z.string(), count)
    .default({})
    .describe("Other numbers of frequencies for some layers, as { q_proj: 500 }."),
  seed: z
    .int()
    .min(0)
    .lt(2 ** 32)
    .default(777)
    .describe("Which frequencies: equal seeds choose equal ones."),
  init: z
    .enum(["random", "zero"])
    .default("random")
    .describe("How coefficients start; random is PEFT's default and changes the model at once."),
  bias: z.enum(["none", "all", "fourierft_only"]).default("none").describe(BIAS_MEANING),
});

export type FourierOptions = z.input<typeof fourierSchema>;

const layout: PeftLayout = {
  type: "FOURIERFT",
  keys: {
    ...PEFT_MODULE_KEYS,
    frequencies: "n_frequency",
    frequencyPattern: "n_frequency_pattern",
    scaling: "scaling",
    seed: "random_loc_seed",
    bias: "bias",
  },
  unused: { fan_in_fan_out: false, init_weights: false, layers_pattern: null },
};

/** @throws TunesmithError (config) for targets or frequencies that do not fit the model */
function bindFourier(given: FourierOptions, model: ModelDescription): BoundMethod {
  const options = completeOptions(fourierSchema, given);
  const adapted = adaptedModules(model, options);
  return boundUpdate("fourierft", adapted, (module) => spectralUpdate(options, module), {
    config: {
      ...toPeftConfig(layout, options, model, adapted.modules),
      init_weights: options.init === "zero",
    },
  });
}

function spectralUpdate(
  options: z.output<typeof fourierSchema>,
  module: LinearModule,
): ModuleUpdate {
  const { path, inputSize, outputSize } = module;
  const pattern = patternValue(options.frequencyPattern, path, "method.frequencyPattern");
  const frequencies = pattern ?? options.frequencies;
  if (frequencies > inputSize * outputSize) throw tooMany(frequencies, module);
  const spec = options.init === "zero" ? zeroSpec : normalSpec;
  const spectrum = spec(`${peftPath(path)}.fourierft_spectrum`, [frequencies]);
  const { columns, rows } = waves(module, frequencies, options);
  return {
    parameters: [spectrum, columns.cosines, columns.sines, rows.cosines, rows.sines],
    apply(x, base, scope) {
      const coefficients = reshape(scope.parameter(spectrum), [1, frequencies]);
      const read = ({ cosines, sines }: WavePair): TensorPair => [
        scope.parameter(cosines),
        scope.parameter(sines),
      ];
      const left = ofBoth(read(columns), (wave) => multiply(wave, coefficients));
      const right = read(rows);
      if (isCheaperFactored(module, frequencies, x.shape[0]!, scope.training))
        return add(throughWaves(x, left, right, module), base(x));
      return linearWith(module, weightOfWaves(left, right, module), x, scope);
    },
    mergeWeight(weight, values) {
      const numbers = ({ cosines, sines }: WavePair) => ({
        cosines: values(cosines),
        sines: values(sines),
      });
      addWaves(weight, values(spectrum), numbers(columns), numbers(rows), module);
    },
  };
}

function tooMany(frequencies: number, { path, inputSize, outputSize }: LinearModule) {
  return new TunesmithError("config", {
    where: "method.frequencies",
    rule: "a layer has no more frequencies than its weight has numbers",
    seen: `${frequencies} for ${path}, of ${outputSize} × ${inputSize}`,
    fix: `choose at most ${inputSize * outputSize}`,
  });
}

/** Whether fewer multiplications are needed for the rows of x than for the weight itself. */
function isCheaperFactored(
  { inputSize, outputSize }: LinearModule,
  frequencies: number,
  rows: number,
  training: boolean,
): boolean {
  const asFactors = rows * frequencies * (inputSize + outputSize) * (training ? 2 : 1);
  return asFactors < inputSize * outputSize * (training ? rows + frequencies : frequencies / 2);
}

export const fourierft = {
  schema: fourierSchema,
  learningRate: 3e-3,
  describe: ({ frequencies = 1000, targets }) =>
    `FourierFT, ${frequencies} frequencies, on ${shownTargets(targets)}`,
  bind: bindFourier,
  peft: {
    type: layout.type,
    options: (config, folder) => ({
      ...fromPeftConfig(fourierSchema, layout, config, folder),
      init: config.init_weights === true ? "zero" : "random",
    }),
  },
} satisfies MethodDefinition<FourierOptions>;
