// Runs a recipe's training: everything prepared and opened, then the loop's events as they happen.

import { relative } from "node:path";
import { stringify } from "yaml";
import { openModel } from "../engine/load.ts";
import { adapterKind } from "../hub/index.ts";
import { methodDefinition, type SavedAdapter } from "../methods/index.ts";
import {
  type CardSubject,
  checkRunFolder,
  latestAdapter,
  runTraining,
  type TrainEvent,
} from "../train/index.ts";
import { checkStart } from "./check-start.ts";
import { openRecipeData, type RecipeData } from "./data.ts";
import { quantizationOf } from "./derive.ts";
import {
  bindRecipeMethod,
  type Prepared,
  type PrepareOptions,
  prepare,
  type RecipeSource,
} from "./prepare.ts";
import { trainingSettings } from "./settings.ts";
import { packageVersions } from "./versions.ts";

export interface TrainOptions extends PrepareOptions {
  /**
   * Aborting saves a checkpoint and ends the run in good order; before the first step, with the signal's
   * reason.
   */
  readonly signal?: AbortSignal;
  /** Replace the run that the folder holds. */
  readonly overwrite?: boolean;
}

/**
 * Trains as a recipe says. Nothing happens before the first event is asked for.
 *
 * @throws TunesmithError for anything wrong with the recipe, the model, the data or the run folder.
 * @example
 *     for await (const event of train("recipe.yaml"))
 *       if (event.type === "step-finished") console.log(event.step, event.loss);
 */
export async function* train(
  source: RecipeSource,
  options: TrainOptions = {},
): AsyncGenerator<TrainEvent, void> {
  const prepared = await prepare(source, options);
  await prepared.checkpoint.close();
  const { recipe, modelPath } = prepared;
  const folderOptions = {
    resume: options.resume,
    overwrite: options.overwrite,
    recipeText: stringify(recipe),
  };
  // What is wrong with the run folder or the data is told before a large model is read.
  await checkRunFolder(recipe.output, folderOptions);
  const data = await openRecipeData(prepared, options);
  await checkStart(prepared, data);
  const { signal, onProgress } = options;
  const decidedBy = options.resume ? await latestAdapter(recipe.output) : undefined;
  if (options.resume && decidedBy === undefined)
    options.onWarning?.(
      `there is nothing to resume: ${relative(process.cwd(), recipe.output)} has no checkpoint, so a new run begins there`,
    );
  const model = await openModel(modelPath, {
    tokens: recipe.tokens,
    method: recipe.method,
    classifier: prepared.classifier,
    dtype: recipe.model.dtype,
    quantization: quantizationOf(recipe),
    arithmetic: recipe.model.arithmetic,
    memory: recipe.train.memory,
    seed: recipe.train.seed,
    threads: recipe.compute.threads,
    signal,
    data: {
      batches: (pass) => data.train.epoch(pass),
      onProgress: (progress) => onProgress?.({ stage: "look", ...progress }),
    },
    decidedBy,
  });
  try {
    yield* runTraining({
      model,
      train: data.train,
      evaluation: data.evaluation,
      settings: trainingSettings(recipe),
      runFolder: recipe.output,
      ...folderOptions,
      signal,
      card: cardSubject(prepared, data),
    });
  } finally {
    await model.dispose();
  }
}

function cardSubject(prepared: Prepared, data: RecipeData): CardSubject {
  const { recipe, modelPath } = prepared;
  const { method, model } = recipe;
  const { saved } = bindRecipeMethod(prepared);
  return {
    baseModel: model.id ?? modelPath,
    kind: saved === "checkpoint" ? "model" : kindOf(saved),
    ...quantizedHere(prepared),
    ...(prepared.classifier && { labels: prepared.classifier.labels }),
    method: methodDefinition(method.name).describe(method),
    data: dataCounts(data),
    versions: packageVersions(),
    tags: [method.name],
  };
}

/** A checkpoint that is quantised itself needs no word about it. */
function quantizedHere({ recipe, origins }: Prepared): Pick<CardSubject, "quantization"> {
  const quantization = quantizationOf(recipe);
  const isOwn = origins.get("model.quantization")?.kind === "checkpoint";
  // Rounding for speed alone: the adapter is meant for the model as it was published.
  const isForSpeed =
    recipe.model.arithmetic === "int8" && origins.get("model.quantization")?.kind === "derived";
  return quantization && !isOwn && !isForSpeed ? { quantization: quantization.type } : {};
}

/** Configurations that are made of parameters are PEFT's. */
const kindOf = ({ config }: SavedAdapter) =>
  typeof config === "function" ? "adapter" : adapterKind(config);

function dataCounts({ report }: RecipeData): Record<string, number> {
  return {
    "training samples": report.samples,
    "training tokens": report.tokens,
    "tokens trained on": report.targets,
    ...(report.eval === undefined ? {} : { "held-out samples": report.eval.samples }),
  };
}
