// MiSS (Kang and Yin 2024): the weight's columns are shared out in groups, and all groups get the same
// addition D: y = W x + b + D Σ xⱼ, one matrix and no product of two. Names and files are those of
// PEFT's `MissConfig`.

import { z } from "zod";
import { TunesmithError } from "../../errors.ts";
import {
  add,
  broadcast,
  concat,
  constant,
  matmul,
  reshape,
  sum,
  type Tensor,
} from "../../tensor/index.ts";
import { adaptedModuleKeys, adaptedModules, peftPath, shownTargets } from "../adapted-modules.ts";
import { boundUpdate, type ModuleUpdate } from "../bound-update.ts";
import type { BoundMethod, MethodDefinition, ModelDescription } from "../method.ts";
import { completeOptions, count } from "../option-schema.ts";
import { zeroSpec } from "../parts/initial-values.ts";
import { addElements } from "../parts/merge-weights.ts";
import { PEFT_MODULE_KEYS, type PeftLayout, peftKind, toPeftConfig } from "../peft-format.ts";
import type { LinearModule } from "../targets.ts";

const missSchema = z.strictObject({
  name: z
    .literal("miss")
    .describe("One small matrix added to every group of columns (Kang and Yin 2024)."),
  rank: count.default(64).describe("Columns of a group."),
  ...adaptedModuleKeys,
  variant: z
    .union([z.literal(true), z.literal("mini")])
    .default(true)
    .describe("true is the whole matrix, mini shares miniRank rows of it among all outputs."),
  miniRank: count.default(1).describe("With mini: rows that are trained; they divide the outputs."),
  dropout: z.number().min(0).lt(1).default(0).describe("Dropout in front of the added matrix."),
});

export type MissOptions = z.input<typeof missSchema>;

const layout: PeftLayout = {
  type: "MISS",
  keys: {
    ...PEFT_MODULE_KEYS,
    rank: "r",
    variant: "init_weights",
    miniRank: "mini_r",
    dropout: "miss_dropout",
  },
  unused: { layers_pattern: null },
  only: { bias: "none" },
};

/** @throws TunesmithError (config) for targets or sizes that do not fit the model */
function bindMiss(given: MissOptions, model: ModelDescription): BoundMethod {
  const options = completeOptions(missSchema, given);
  const adapted = adaptedModules(model, options);
  return boundUpdate("miss", adapted, (module) => blockUpdate(options, module), {
    config: toPeftConfig(layout, options, model, adapted.modules),
  });
}

function blockUpdate(
  { rank, dropout, variant, miniRank }: z.output<typeof missSchema>,
  { path, inputSize, outputSize }: LinearModule,
): ModuleUpdate {
  if (variant === "mini" && outputSize % miniRank !== 0)
    throw notDividing(`${miniRank}, where ${path} has ${outputSize} outputs`);
  // [rank, outputs, or those that are repeated]
  const width = variant === "mini" ? miniRank : outputSize;
  const block = zeroSpec(`${peftPath(path)}.miss_block`, [rank, width]);
  return {
    parameters: [block],
    // Columns repeat from `rank` on, whatever the outputs: all inputs in one group are a whole matrix.
    ranks: [
      {
        kind: "group",
        option: "rank",
        rank,
        path,
        shape: [outputSize, inputSize],
        largest: inputSize,
      },
    ],
    apply(x, base, scope) {
      const groups = sumOfGroups(scope.dropout(x, dropout, path), rank);
      return add(repeated(matmul(groups, scope.parameter(block)), outputSize), base(x));
    },
    mergeWeight(weight, values) {
      const numbers = values(block);
      addElements(
        weight,
        inputSize,
        (out, column) => numbers[(column % rank) * width + (out % width)]!,
      );
    },
  };
}

function notDividing(seen: string): TunesmithError {
  return new TunesmithError("config", {
    where: "method.miniRank",
    rule: "miniRank divides a layer's outputs",
    seen,
    fix: "choose a smaller one, or leave the layer out with method.exclude",
  });
}

/** [rows, in] to [rows, rank]: the sum over groups of `rank` columns, the last filled up with zeros. */
function sumOfGroups(x: Tensor, rank: number): Tensor {
  const [rows, width] = x.shape as [number, number];
  const groups = Math.ceil(width / rank);
  const missing = groups * rank - width;
  const full = missing > 0 ? concat([x, broadcast(constant(0), [rows, missing])], 1) : x;
  return reshape(sum(reshape(full, [rows, groups, rank]), [1]), [rows, rank]);
}

/** Columns again and again until there are `width` of them. */
function repeated(x: Tensor, width: number): Tensor {
  const [rows, own] = x.shape as [number, number];
  if (own === width) return x;
  const copies = broadcast(reshape(x, [rows, 1, own]), [rows, width / own, own]);
  return reshape(copies, [rows, width]);
}

export const miss = {
  schema: missSchema,
  learningRate: 2e-4,
  describe: ({ rank = 64, targets }) => `MiSS, groups of ${rank}, on ${shownTargets(targets)}`,
  idle: [
    { option: "miniRank", isIdle: ({ variant }) => variant !== "mini", needs: "variant: mini" },
  ],
  bind: bindMiss,
  peft: peftKind(missSchema, layout),
} satisfies MethodDefinition<MissOptions>;
