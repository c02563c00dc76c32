// HRA (Yuan et al. 2024): the weight is multiplied with a chain of Householder reflections,
// y = W H₁ … H_r x + b with H = I − 2 u uᵀ. Names and files are those of PEFT's `HRAConfig`.

import { z } from "zod";
import {
  add,
  constantTensor,
  divide,
  inverse,
  linear,
  matmul,
  multiply,
  reshape,
  sqrt,
  subtract,
  sum,
  type Tensor,
} from "../../tensor/index.ts";
import {
  adaptedModuleKeys,
  adaptedModules,
  BIAS_MEANING,
  peftPath,
  shownTargets,
} from "../adapted-modules.ts";
import { boundUpdate, type ModuleUpdate } from "../bound-update.ts";
import { rankUse } from "../fitting-ranks.ts";
import type { BoundMethod, MethodDefinition, ModelDescription, ParameterSpec } from "../method.ts";
import { completeOptions, count } from "../option-schema.ts";
import { kaimingUniform } from "../parts/initial-values.ts";
import { PEFT_MODULE_KEYS, type PeftLayout, peftKind, toPeftConfig } from "../peft-format.ts";
import type { LinearModule } from "../targets.ts";

const hraSchema = z.strictObject({
  name: z.literal("hra").describe("Chains of trained reflections (Yuan et al. 2024)."),
  rank: count
    .default(8)
    .describe("Reflections a layer; even, so that they start in pairs that undo each other."),
  ...adaptedModuleKeys,
  bias: z.enum(["none", "all", "hra_only"]).default("none").describe(BIAS_MEANING),
});

export type HraOptions = z.input<typeof hraSchema>;

const layout: PeftLayout = {
  type: "HRA",
  keys: { ...PEFT_MODULE_KEYS, rank: "r", bias: "bias" },
  unused: { init_weights: true, layers_pattern: null },
  only: { apply_GS: false },
};

/** @throws TunesmithError (config) for targets that the model does not have */
function bindHra(given: HraOptions, model: ModelDescription): BoundMethod {
  const options = completeOptions(hraSchema, given);
  const adapted = adaptedModules(model, options);
  return boundUpdate("hra", adapted, (module) => reflections(options.rank, module), {
    config: toPeftConfig(layout, options, model, adapted.modules),
  });
}

function reflections(rank: number, module: LinearModule): ModuleUpdate {
  const { path, inputSize } = module;
  const normals = inPairs(kaimingUniform(`${peftPath(path)}.hra_u`, [inputSize, rank]));
  return {
    parameters: [normals],
    ranks: [rankUse("rank", rank, module)],
    apply: (x, base, scope) => base(reflect(x, scope.parameter(normals))),
    mergeWeight: (weight, values) => reflectRows(weight, values(normals), [inputSize, rank]),
  };
}

/** Every second column starts as the one before it, where their number is even. */
function inPairs(spec: ParameterSpec): ParameterSpec {
  const rank = spec.shape[1]!;
  if (rank % 2 === 1) return spec;
  return {
    ...spec,
    async initial(...given) {
      const values = await spec.initial(...given);
      // PEFT draws half of the columns, from a range that fits their number.
      return values.map((_, i) => values[i - ((i % rank) % 2)]! * Math.SQRT2);
    },
  };
}

/**
 * x Hᵣ … H₁ for rows x, without a matrix of the weight's size: with U the normals as unit columns,
 * H₁ … Hᵣ = I − U S⁻¹ Uᵀ, where S has ½ on its diagonal and what Uᵀ U has above it (Joffrain et al.
 * 2006, "Accumulating Householder transformations, revisited").
 */
function reflect(x: Tensor, normals: Tensor): Tensor {
  const rank = normals.shape[1]!;
  const u = divide(normals, sqrt(sum(multiply(normals, normals), [0])));
  const above = Float32Array.from({ length: rank * rank }, (_, i) =>
    i % rank > Math.floor(i / rank) ? 1 : 0,
  );
  const half = Float32Array.from({ length: rank * rank }, (_, i) =>
    i % (rank + 1) === 0 ? 0.5 : 0,
  );
  const s = add(
    multiply(matmul(u, u, { transposeA: true }), constantTensor(above, [rank, rank])),
    constantTensor(half, [rank, rank]),
  );
  const inverted = reshape(inverse(reshape(s, [1, rank, rank])), [rank, rank]);
  return subtract(x, linear(linear(matmul(x, u), inverted), u));
}

/** weight H₁ … Hᵣ, in place: one reflection of every row after the other. */
function reflectRows(
  weight: Float32Array,
  normals: Float32Array,
  [inputSize, rank]: readonly [number, number],
): void {
  const columns = Array.from({ length: rank }, (_, r) => {
    const column = Float64Array.from({ length: inputSize }, (__, i) => normals[i * rank + r]!);
    const norm = Math.sqrt(column.reduce((total, value) => total + value * value, 0));
    return column.map((value) => value / norm);
  });
  for (let start = 0; start < weight.length; start += inputSize) {
    const row = Float64Array.from(weight.subarray(start, start + inputSize));
    for (const u of columns) {
      let along = 0;
      for (let i = 0; i < inputSize; i++) along += row[i]! * u[i]!;
      for (let i = 0; i < inputSize; i++) row[i]! -= 2 * along * u[i]!;
    }
    weight.set(row, start);
  }
}

export const hra = {
  schema: hraSchema,
  learningRate: 1e-3,
  describe: ({ rank = 8, targets }) => `HRA, ${rank} reflections, on ${shownTargets(targets)}`,
  bind: bindHra,
  peft: peftKind(hraSchema, layout),
} satisfies MethodDefinition<HraOptions>;
