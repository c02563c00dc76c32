// Measures a held-out loss: of the model alone, and with an adapter.

import { readdir } from "node:fs/promises";
import { join } from "node:path";
import { openModel } from "../engine/load.ts";
import { TunesmithError } from "../errors.ts";
import { type Evaluation, evaluate, RUN_FILES } from "../train/index.ts";
import { openRecipeData } from "./data.ts";
import type { Recipe } from "./derive.ts";
import type { Override } from "./overrides.ts";
import { type Prepared, prepare } from "./prepare.ts";
import type { RecipeInput } from "./schema.ts";

export interface EvaluateOptions {
  /** A recipe's file: its model, its evaluation data, its newest adapter. */
  readonly recipe?: string;
  readonly overrides?: readonly Override[];
  /** Each goes before what the recipe says. */
  readonly model?: string;
  readonly adapter?: string;
  readonly data?: string;
  readonly signal?: AbortSignal;
}

export interface EvaluationReport {
  /** Positions measured. */
  readonly targetTokens: number;
  readonly base: Evaluation;
  readonly adapted?: Evaluation & { readonly adapter: string };
}

/** Evaluates. Throws a TunesmithError where there is nothing to evaluate. */
export async function evaluateRecipe(options: EvaluateOptions): Promise<EvaluationReport> {
  const prepared = await prepare(options.recipe ?? withoutRecipe(options), {
    overrides: [...(options.overrides ?? []), ...givenOptions(options)],
    resume: true,
  });
  await prepared.checkpoint.close();
  const { evaluation } = await openRecipeData(prepared);
  if (evaluation === undefined)
    throw new TunesmithError("data", {
      where: "data.eval",
      rule: "an evaluation needs held-out data",
      seen: "data.eval is 0",
      fix: "give --data FILE, or set data.eval in the recipe",
    });
  const measure = async (adapter?: string): Promise<Evaluation> => {
    const { recipe, modelPath } = prepared;
    const { dtype } = recipe.model;
    const { threads } = recipe.compute;
    const model = await openModel(modelPath, { adapter, dtype, threads });
    try {
      const result = await evaluate(model, evaluation, options.signal);
      if (result === undefined) throw new DOMException("aborted", "AbortError");
      return result;
    } finally {
      await model.dispose();
    }
  };
  const adapter = options.adapter ?? (await newestAdapter(prepared));
  const base = await measure();
  return {
    targetTokens: base.targetTokens,
    base,
    ...(adapter === undefined ? {} : { adapted: { ...(await measure(adapter)), adapter } }),
  };
}

/** Data given alone are measured as a whole: they are the evaluation data of a recipe for nothing. */
function withoutRecipe({ model, data }: EvaluateOptions): RecipeInput {
  return {
    model: { path: model! },
    data: { train: data!, eval: data! },
    method: { name: "lora" },
  };
}

function givenOptions({ recipe, model, data }: EvaluateOptions): Override[] {
  if (recipe === undefined) return [];
  return [
    ...(model === undefined ? [] : [{ flag: "--model", path: ["model"], value: model }]),
    ...(data === undefined ? [] : [{ flag: "--data", path: ["data", "eval"], value: data }]),
  ];
}

async function newestAdapter(prepared: Prepared): Promise<string | undefined> {
  const { output }: Recipe = prepared.recipe;
  const folder = join(output, RUN_FILES.adapter);
  const files = await readdir(folder).catch((): string[] => []);
  return files.includes("adapter_config.json") ? folder : undefined;
}
