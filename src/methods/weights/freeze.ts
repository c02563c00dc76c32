// Freeze tuning: some of the checkpoint's own weights are trained and the rest stays as it is: the last
// blocks, or the weights that a pattern names (routers alone, experts alone, a head).

import { z } from "zod";
import { nearest, TunesmithError } from "../../errors.ts";
import type { WeightSpec } from "../../models/index.ts";
import type { BoundMethod, MethodDefinition, ModelDescription, ParameterSpec } from "../method.ts";
import { completeOptions, count, derived, moduleNames } from "../option-schema.ts";
import { trainedWeight } from "../saved-modules.ts";
import { compilePattern } from "../targets.ts";

const freezeSchema = z.strictObject({
  name: z.literal("freeze").describe("Some of the model's own weights are trained, as they are."),
  blocks: count
    .optional()
    .describe("The last blocks, this many, are trained.")
    .meta(derived("2; all blocks where weights or parts are named")),
  parts: z
    .enum(["routers", "experts"])
    .optional()
    .describe("Of a mixture of experts, only the routers or only the experts."),
  weights: z
    .union([z.string(), moduleNames.min(1)])
    .optional()
    .describe("Of those, only these: parts of their names such as [mlp], or a regex.")
    .meta(derived("all")),
});

/** What `parts` stands for: weights at or below these paths of a block. */
const PART_PATHS = { routers: "router", experts: "experts" } as const;

export type FreezeOptions = z.input<typeof freezeSchema>;

const DEFAULT_BLOCKS = 2;

/** @throws TunesmithError (config) for blocks or names that the model does not have */
function bindFreeze(given: FreezeOptions, model: ModelDescription): BoundMethod {
  const options = completeOptions(freezeSchema, given);
  const parameters = chosenWeights(options, model).map((weight) =>
    trainedWeight(weight, weight.name),
  );
  const replaces = new Map<string, ParameterSpec>(parameters.map((spec) => [spec.key, spec]));
  // A tied output matrix is the same parameter under its second name.
  const output = replaces.get(model.outputName);
  if (output) replaces.set(`${model.outputPath}.weight`, output);
  return { name: "freeze", parameters, replaces, saved: "checkpoint" };
}

function chosenWeights(
  { blocks, parts, weights }: z.output<typeof freezeSchema>,
  model: ModelDescription,
): WeightSpec[] {
  const { layers } = model.dimensions;
  if (blocks !== undefined && blocks > layers)
    throw new TunesmithError("config", {
      where: "method.blocks",
      rule: "there are at least as many blocks as are trained",
      seen: `${blocks} of ${layers}`,
      fix: `use at most ${layers}, or method: full`,
    });
  const isNamed = weights !== undefined || parts !== undefined;
  const last = blocks ?? (isNamed ? undefined : Math.min(DEFAULT_BLOCKS, layers));
  const ofParts = parts ? weightsOfParts(parts, model) : model.weights;
  const inBlocks = ofParts.filter(
    ({ name }) => last === undefined || blockOf(name, model) >= layers - last,
  );
  if (inBlocks.length === 0) throw noParts(parts!, `the last ${last} blocks have none`);
  if (weights === undefined) return inBlocks;
  if (typeof weights === "string") {
    const pattern = compilePattern(`^(?:${weights})$`, weights, "method.weights");
    const matching = inBlocks.filter(({ name }) => pattern.test(name));
    if (matching.length === 0) throw noWeights([weights], inBlocks, model);
    return matching;
  }
  const hasPart = (name: string, part: string) => `.${name}.`.includes(`.${part}.`);
  const unknown = weights.filter((part) => !inBlocks.some(({ name }) => hasPart(name, part)));
  if (unknown.length > 0) throw noWeights(unknown, inBlocks, model);
  return inBlocks.filter(({ name }) => weights.some((part) => hasPart(name, part)));
}

/** @throws TunesmithError (config) for a model without experts */
function weightsOfParts(parts: keyof typeof PART_PATHS, model: ModelDescription): WeightSpec[] {
  const paths = model.blocks.flatMap((block) => block[PART_PATHS[parts]] ?? []);
  if (paths.length === 0) throw noParts(parts, `a ${model.modelType}, which has no experts`);
  return model.weights.filter(({ name }) => paths.some((path) => name.startsWith(`${path}.`)));
}

function noParts(parts: string, seen: string): TunesmithError {
  return new TunesmithError("config", {
    where: "method.parts",
    rule: `the blocks that are trained have ${parts}`,
    seen,
    fix: "leave parts out, or use weights and blocks to say what is trained",
  });
}

/** The number of the decoder's block that a weight is of; -1 for those outside. */
const blockOf = (name: string, { blocks }: ModelDescription): number =>
  blocks.findIndex(({ block }) => name.startsWith(`${block}.`));

function noWeights(
  patterns: readonly string[],
  among: readonly WeightSpec[],
  model: ModelDescription,
): TunesmithError {
  const parts = [...new Set(among.flatMap(({ name }) => name.split(".")))].filter(
    (part) => !/^\d+$/.test(part),
  );
  const isTiedOutput = (pattern: string) =>
    pattern === model.outputPath && model.outputName !== `${model.outputPath}.weight`;
  return new TunesmithError(
    "config",
    patterns.map((pattern) => ({
      where: "method.weights",
      rule: "every entry is part of a weight's name, or a regular expression for whole names",
      seen: `${JSON.stringify(pattern)} fits no weight`,
      fix: isTiedOutput(pattern)
        ? `the output matrix is the embedding: name "${model.outputName.split(".").at(-2)}"`
        : `nearest is ${JSON.stringify(nearest(pattern, parts) ?? parts[0])}`,
    })),
  );
}

export const freeze = {
  schema: freezeSchema,
  learningRate: 2e-5,
  describe: ({ blocks, parts, weights }) =>
    [
      "freeze tuning",
      ...(parts ? [`${parts} only`] : []),
      ...(weights ? [[weights].flat().join(", ")] : []),
      ...(blocks || !(weights || parts) ? [`last ${blocks ?? DEFAULT_BLOCKS} blocks`] : []),
    ].join(", "),
  bind: bindFreeze,
} satisfies MethodDefinition<FreezeOptions>;
