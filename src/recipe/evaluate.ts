// Measures a held-out loss: of the model alone, and of what was trained (an adapter, or a whole model).

import { readdir } from "node:fs/promises";
import { join } from "node:path";
import { openModel } from "../engine/load.ts";
import { classifierOfAdapter } from "../engine/weights/new-head.ts";
import { TunesmithError } from "../errors.ts";
import { openCheckpoint, type QuantizationType, readAdapter } from "../hub/index.ts";
import { readClassifier } from "../models/index.ts";
import { type Evaluation, evaluate, RUN_FILES } from "../train/index.ts";
import type { Attention } from "./attention.ts";
import { openRecipeData } from "./data.ts";
import { quantizationOf, type Recipe } from "./derive.ts";
import type { Override } from "./overrides.ts";
import { fetchModel, prepare } from "./prepare.ts";
import type { RecipeInput } from "./schema.ts";

export interface EvaluateOptions extends Attention {
  /** A recipe's file: its model, its evaluation data, what its newest run trained. */
  readonly recipe?: string;
  readonly overrides?: readonly Override[];
  /** Each goes before what the recipe says. */
  readonly model?: string;
  readonly adapter?: string;
  readonly data?: string;
  /** Keeps the model's linear weights so, as for an adapter that was trained over them. */
  readonly quantization?: QuantizationType;
}

export interface EvaluationReport {
  /** Positions, or texts with a label, measured. */
  readonly targetTokens: number;
  readonly base: Evaluation;
  /** With the adapter; of a full run, its own checkpoint: `adapter` is its folder too. */
  readonly adapted?: Evaluation & { readonly adapter: string };
}

/** Evaluates. Throws a TunesmithError where there is nothing to evaluate. */
export async function evaluateRecipe(options: EvaluateOptions): Promise<EvaluationReport> {
  const { signal, onProgress, onWarning } = options;
  const attention = { signal, onProgress };
  const prepared = await prepare(options.recipe ?? (await withoutRecipe(options)), {
    overrides: [...(options.overrides ?? []), ...givenOptions(options)],
    resume: true,
    ...attention,
  });
  await prepared.checkpoint.close();
  const { evaluation } = await openRecipeData(prepared, attention);
  if (evaluation === undefined)
    throw new TunesmithError("data", {
      where: "data.eval",
      rule: "an evaluation needs held-out data",
      seen: "data.eval is 0",
      fix: "give --data FILE, or set data.eval in the recipe",
    });
  const measure = async (path: string, adapter?: string): Promise<Evaluation> => {
    // What a method for whole weights trained is a model of its own.
    const isBase = path === prepared.modelPath;
    const { recipe } = prepared;
    const { dtype } = recipe.model;
    const { threads } = recipe.compute;
    const quantization = isBase ? quantizationOf(recipe) : undefined;
    const model = await openModel(path, {
      adapter,
      classifier: prepared.classifier,
      dtype,
      quantization,
      threads,
      signal,
      onWarning,
    });
    try {
      const result = await evaluate(model, evaluation, signal);
      if (result === undefined) throw signal?.reason;
      return result;
    } finally {
      await model.dispose();
    }
  };
  const { modelPath } = prepared;
  const trained: Trained | undefined =
    options.adapter === undefined
      ? await newestTrained(prepared.recipe)
      : { folder: options.adapter, kind: "adapter" };
  const base = await measure(modelPath);
  if (trained === undefined) return { targetTokens: base.targetTokens, base };
  const { folder, kind } = trained;
  const adapted = await (kind === "model" ? measure(folder) : measure(modelPath, folder));
  return { targetTokens: base.targetTokens, base, adapted: { ...adapted, adapter: folder } };
}

/** Data given alone are measured as a whole: they are the evaluation data of a recipe for nothing. */
async function withoutRecipe(options: EvaluateOptions): Promise<RecipeInput> {
  const { model, data, quantization } = options;
  return {
    model: { path: model!, quantization },
    data: { train: data!, eval: data! },
    method: { name: "lora" },
    objective: await objectiveOf(options),
  };
}

/** What a model and an adapter were made for, as their files say. */
async function objectiveOf({
  model,
  adapter,
  ...attention
}: EvaluateOptions): Promise<RecipeInput["objective"]> {
  const checkpoint = await openCheckpoint(await fetchModel(model!, attention));
  await checkpoint.close();
  const classifier =
    (adapter !== undefined && classifierOfAdapter(await readAdapter(adapter), adapter)) ||
    readClassifier(checkpoint.config, checkpoint.source);
  if (!classifier) return { name: "sft" };
  const { labels, problem } = classifier;
  if (problem === "regression") return { name: "regression", labels: [...labels] };
  const multiple = problem === "multi_label_classification";
  return { name: "classification", labels: [...labels], multiple };
}

function givenOptions({ recipe, model, data, quantization }: EvaluateOptions): Override[] {
  if (recipe === undefined) return [];
  const given: Override[] = [
    { flag: "--model", path: ["model"], value: model },
    { flag: "--data", path: ["data", "eval"], value: data },
    { flag: "--quantization", path: ["model", "quantization"], value: quantization },
  ];
  return given.filter(({ value }) => value !== undefined);
}

interface Trained {
  readonly folder: string;
  readonly kind: "adapter" | "model";
}

/** What the recipe's run folder holds; a method that trains whole weights leaves a model there. */
async function newestTrained({ output }: Recipe): Promise<Trained | undefined> {
  const folder = join(output, RUN_FILES.adapter);
  const files = await readdir(folder).catch((): string[] => []);
  if (files.includes("adapter_config.json")) return { folder, kind: "adapter" };
  return files.includes("config.json") ? { folder, kind: "model" } : undefined;
}
