// Fills in what a recipe leaves open and no fixed default can answer: from the method, the model's
// checkpoint, this machine and the folder of runs. Each value comes with the reason for it.

import { readdir } from "node:fs/promises";
import { availableParallelism } from "node:os";
import { join, resolve } from "node:path";
import type { KeptQuantization } from "../engine/weights/quantized-weights.ts";
import type { NewTokens, QuantizationType } from "../hub/index.ts";
import { methodDefinition } from "../methods/index.ts";
import type { BoundArchitecture } from "../models/index.ts";
import { listCheckpoints, RUN_FILES } from "../train/index.ts";
import type { ChosenClassifier } from "./classifier.ts";
import { valueAt } from "./document.ts";
import type { LoadedRecipe } from "./load.ts";
import type { Origin } from "./origins.ts";
import type { ParsedRecipe } from "./schema.ts";

/** A recipe without open questions. */
export type Recipe = Omit<ParsedRecipe, "model" | "data" | "train" | "compute" | "output"> & {
  readonly model: ParsedRecipe["model"] & { readonly quantization: "none" | QuantizationType };
  readonly data: ParsedRecipe["data"] & { readonly maxLength: number };
  readonly train: ParsedRecipe["train"] & {
    readonly learningRate: number;
    readonly keepBest: boolean;
  };
  readonly compute: ParsedRecipe["compute"] & { readonly threads: number };
  readonly output: string;
};

export interface ResolvedRecipe extends Omit<LoadedRecipe, "recipe"> {
  readonly recipe: Recipe;
}

/** What deriving needs to know from outside the recipe. */
export interface Facts {
  /** The model's context, and what says so. */
  readonly context: { readonly tokens: number; readonly source: string };
  /** Whether the model looks at images, which take many tokens. */
  readonly looksAtImages?: boolean;
  /** What the objective makes of the model, where that is a classifier. */
  readonly classifier?: ChosenClassifier;
  /** Tokens that the model is given, and what has rows for them. */
  readonly newTokens?: Pick<NewTokens, "ids"> & {
    readonly architecture: Pick<BoundArchitecture, "embeddingName" | "outputName" | "outputPath">;
  };
  /** How the checkpoint is quantised, if it is. */
  readonly quantized?: QuantizationType;
  /** The run folder to use where the recipe names none. */
  readonly runFolder: { readonly path: string; readonly why: string };
}

interface Answer {
  readonly value: unknown;
  readonly kind: "derived" | "checkpoint";
  readonly why: string;
}

/**
 * Samples are cut to this where the model could take more: memory grows with it. A photo in 17 squares of 64
 * tokens takes more than texts usually do.
 */
const USUAL_MAXIMUM_LENGTH = { texts: 1024, images: 2048 } as const;

const derived = (value: unknown, why: string): Answer => ({ value, kind: "derived", why });

/** Whether weights are made 4-bit ones, rather than read as such. */
const isFourBitHere = ({ model }: ParsedRecipe, { quantized }: Facts) =>
  quantized === undefined && (model.quantization === "nf4" || model.quantization === "fp4");

const LABEL_ORIGINS: Readonly<Record<ChosenClassifier["origin"], string>> = {
  recipe: "listed",
  checkpoint: "the checkpoint's own",
  data: "found in the training data",
  usual: "usual for regression",
};

/** The methods that are a LoRA, with its options. */
const isLora = (method: ParsedRecipe["method"]) =>
  method.name === "lora" || method.name === "dora" || method.name === "qlora";

/** The derived keys, in the order in which they are answered. */
const RULES: Readonly<Record<string, (recipe: ParsedRecipe, facts: Facts) => Answer | undefined>> =
  {
    "data.maxLength": (_, { context, looksAtImages }) => {
      const usual = USUAL_MAXIMUM_LENGTH[looksAtImages ? "images" : "texts"];
      return context.tokens <= usual
        ? { value: context.tokens, kind: "checkpoint", why: context.source }
        : derived(
            usual,
            `bounds memory; the model takes up to ${context.tokens} (${context.source})`,
          );
    },
    "model.quantization": ({ method, model }, { quantized }) => {
      if (quantized) return { value: quantized, kind: "checkpoint", why: "the checkpoint's own" };
      if (model.arithmetic === "int8") return derived("int8", "products are computed in int8");
      const wanted = methodDefinition(method.name).quantization;
      return wanted
        ? derived(wanted.type, `usual for ${method.name}`)
        : derived("none", `${method.name} asks for none`);
    },
    "model.doubleQuantization": (recipe, facts) =>
      isFourBitHere(recipe, facts) ? derived(true, "usual in 4 bits") : undefined,
    "model.quantizationBlockSize": (recipe, facts) =>
      isFourBitHere(recipe, facts) ? derived(64, "usual in 4 bits") : undefined,
    "method.alpha": ({ method }) =>
      isLora(method) ? derived(2 * method.rank, "2 × rank") : undefined,
    "method.trainableTokens": ({ method }, { newTokens }) => {
      if (!newTokens || newTokens.ids.length === 0 || !isLora(method)) return undefined;
      const { embeddingName, outputName, outputPath } = newTokens.architecture;
      const paths = new Set([embeddingName.replace(/\.weight$/, "")]);
      if (outputName !== embeddingName) paths.add(outputPath);
      const names = [...paths].map((path) => path.split(".").at(-1)!);
      // A module that is trained otherwise has no rows of its own.
      const isTrained = [...method.modulesToSave, ...[method.targets ?? []].flat()].some((name) =>
        names.includes(name),
      );
      if (isTrained) return undefined;
      const rows = Object.fromEntries(names.map((name) => [name, newTokens.ids]));
      return derived(rows, "the new tokens");
    },
    "train.learningRate": ({ method }) => {
      const { learningRate } = methodDefinition(method.name);
      const usual = typeof learningRate === "number" ? learningRate : learningRate(method);
      return derived(usual, `usual for ${method.name}`);
    },
    "train.keepBest": ({ data, train }) => {
      if (data.eval === 0) return derived(false, "no held-out data");
      return train.evaluateEvery === "never"
        ? derived(false, "nothing is evaluated")
        : derived(true, "there is held-out data");
    },
    "objective.labels": (_, { classifier }) =>
      classifier && {
        value: classifier.labels,
        kind: classifier.origin === "checkpoint" ? "checkpoint" : "derived",
        why: LABEL_ORIGINS[classifier.origin],
      },
    "compute.threads": () => derived(availableParallelism(), "cores this process may use"),
    output: (_, { runFolder }) => derived(runFolder.path, runFolder.why),
  };

/** The recipe with every open value answered, and the origins of those values added. */
export function deriveRecipe(loaded: LoadedRecipe, facts: Facts): ResolvedRecipe {
  const recipe = structuredClone(loaded.recipe);
  const origins = new Map<string, Origin>(loaded.origins);
  for (const [path, rule] of Object.entries(RULES)) {
    const steps = path.split(".");
    if (valueAt(recipe, steps) !== undefined) continue;
    const answer = rule(recipe, facts);
    if (answer === undefined) continue;
    const parent = valueAt(recipe, steps.slice(0, -1)) as Record<string, unknown>;
    parent[steps.at(-1)!] = answer.value;
    origins.set(path, { kind: answer.kind, detail: answer.why });
  }
  return { ...loaded, recipe: recipe as Recipe, origins };
}

/** How a recipe keeps its model's linear weights; undefined: as they are. */
export function quantizationOf({ model }: Recipe): KeptQuantization | undefined {
  const { quantization: type, doubleQuantization, quantizationBlockSize } = model;
  if (type === "none") return undefined;
  if (type === "int4") return { type };
  return { type, doubleQuantization, blockSize: quantizationBlockSize };
}

/**
 * The folder of a recipe's next run, `runs/<name>-<number>` below the current folder; with `resume`
 * the newest one that has a checkpoint, if there is any: one that failed before has nothing to resume.
 */
export async function chooseRunFolder(
  name: string,
  options: { readonly resume?: boolean; readonly parent?: string } = {},
): Promise<Facts["runFolder"]> {
  const parent = resolve(options.parent ?? "runs");
  const present = await readdir(parent).catch(() => []);
  const numbers = present
    .filter((each) => each.startsWith(`${name}-`))
    .map((each) => each.slice(name.length + 1))
    .filter((rest) => /^\d+$/.test(rest))
    .map(Number);
  const numbered = (number: number) => join(parent, `${name}-${number}`);
  if (options.resume)
    for (const number of numbers.toSorted((a, b) => b - a)) {
      const steps = await listCheckpoints(join(numbered(number), RUN_FILES.checkpoints));
      if (steps.length > 0)
        return { path: numbered(number), why: "the newest run of this recipe with a checkpoint" };
    }
  return { path: numbered(Math.max(0, ...numbers) + 1), why: "the next free number" };
}
