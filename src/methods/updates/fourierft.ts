// FourierFT (Gao et al. 2024): what is added to a weight has few frequencies, W + s · Re(IDFT(F)), and
// their coefficients are trained. Names and files are those of PEFT's `FourierFTConfig`; which
// frequencies they are follows from a seed.

import { z } from "zod";
import { TunesmithError } from "../../errors.ts";
import { torchGenerator, torchPermutation } from "../../runtime/torch-random.ts";
import { add, concat, matmul, multiply, reshape } from "../../tensor/index.ts";
import {
  adaptedModuleKeys,
  adaptedModules,
  BIAS_MEANING,
  peftPath,
  shownTargets,
} from "../adapted-modules.ts";
import { boundUpdate, type ModuleUpdate } from "../bound-update.ts";
import type { BoundMethod, MethodDefinition, ModelDescription, ParameterSpec } from "../method.ts";
import { completeOptions, count } from "../option-schema.ts";
import { normalSpec, zeroSpec } from "../parts/initial-values.ts";
import { linearWith, lowRank } from "../parts/low-rank.ts";
import { addLowRank } from "../parts/merge-weights.ts";
import { fromPeftConfig, PEFT_MODULE_KEYS, type PeftLayout, toPeftConfig } from "../peft-format.ts";
import { type LinearModule, patternValue } from "../targets.ts";

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

/**
 * Cosines and sines of the chosen frequencies, one pair for all layers of a size: what is added is
 * (columns ∘ c) rows, with the coefficients c once for the cosines and once for the sines.
 */
interface Waves {
  /** [out, 2 · frequencies] */
  readonly columns: ParameterSpec;
  /** [2 · frequencies, in], scaled */
  readonly rows: ParameterSpec;
}

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
  const rank = 2 * frequencies;
  return {
    parameters: [spectrum, columns, rows],
    apply(x, base, scope) {
      const c = scope.parameter(spectrum);
      // Once for the cosines and once for the sines.
      const coefficients = reshape(concat([c, c], 0), [1, rank]);
      const [left, right] = [scope.parameter(columns), scope.parameter(rows)];
      if (isCheaperFactored(module, rank, x.shape[0]!, scope.training))
        return add(lowRank(x, right, left, coefficients), base(x));
      return linearWith(module, matmul(multiply(left, coefficients), right), x, scope);
    },
    mergeWeight(weight, values) {
      const [coefficients, left] = [values(spectrum), values(columns)];
      addLowRank(
        weight,
        { ...module, rank },
        (out, r) => left[out * rank + r]! * coefficients[r % frequencies]!,
        values(rows),
      );
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

function waves(
  { inputSize, outputSize }: LinearModule,
  frequencies: number,
  { seed, scaling }: { readonly seed: number; readonly scaling: number },
): Waves {
  const size = inputSize * outputSize;
  const name = `fourierft.${outputSize}x${inputSize}.${frequencies}`;
  const wave = (
    part: string,
    shape: readonly number[],
    element: (places: readonly number[], i: number) => number,
  ): ParameterSpec => ({
    key: `${name}.${part}`,
    shape,
    frozen: true,
    derived: true,
    async initial() {
      const places = torchPermutation(torchGenerator(seed), size, frequencies);
      return Float32Array.from({ length: shape[0]! * shape[1]! }, (_, i) => element(places, i));
    },
  });
  // Re((cos a + i sin a)(cos b + i sin b)) = cos a cos b − sin a sin b, a and b being the angles of row
  // and column; their multiples are taken modulo the size, so that they keep all digits.
  const angle = (multiple: number, length: number) => (2 * Math.PI * (multiple % length)) / length;
  return {
    columns: wave("columns", [outputSize, 2 * frequencies], (places, i) => {
      const [out, r] = [Math.floor(i / (2 * frequencies)), i % (2 * frequencies)];
      const row = Math.floor(places[r % frequencies]! / inputSize);
      const a = angle(row * out, outputSize);
      return r < frequencies ? Math.cos(a) : -Math.sin(a);
    }),
    rows: wave("rows", [2 * frequencies, inputSize], (places, i) => {
      const [r, column] = [Math.floor(i / inputSize), i % inputSize];
      const b = angle((places[r % frequencies]! % inputSize) * column, inputSize);
      return ((r < frequencies ? Math.cos(b) : Math.sin(b)) * scaling) / size;
    }),
  };
}

/** Whether fewer multiplications are needed for the rows of x than for the weight itself. */
function isCheaperFactored(
  { inputSize, outputSize }: LinearModule,
  rank: number,
  rows: number,
  training: boolean,
): boolean {
  const asFactors = rows * rank * (inputSize + outputSize) * (training ? 2 : 1);
  return asFactors < inputSize * outputSize * (training ? rows + 2 * rank : rank);
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
