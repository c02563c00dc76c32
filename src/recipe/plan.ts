// What a recipe would do, found out without training: every value with its origin, the model's and
// the method's sizes, the data as the model will see them, memory and time.

import { relative } from "node:path";
import { headKind, isNarrowInFile } from "../engine/head/head-kind.ts";
import type { Checkpoint } from "../hub/index.ts";
import { countParameters } from "../methods/index.ts";
import { checkIntegerProducts } from "../runtime/integer-products.ts";
import { createRuntime, type Runtime } from "../runtime/kernel.ts";
import { sizeOf } from "../tensor/index.ts";
import { checkLook, checkStart } from "./check-start.ts";
import { type DataPreview, openRecipeData } from "./data.ts";
import { quantizationOf } from "./derive.ts";
import { valueAt } from "./document.ts";
import {
  type Estimate,
  estimate,
  measureProductSpeed,
  USUAL_EFFICIENCY,
  weightsOfTexts,
} from "./estimate.ts";
import { estimateImages, type ImageEstimate } from "./estimate-images.ts";
import { recipeKeys } from "./keys.ts";
import { inspectMachine } from "./machine.ts";
import type { Origin } from "./origins.ts";
import {
  bindRecipeMethod,
  type Prepared,
  type PrepareOptions,
  prepare,
  type RecipeSource,
} from "./prepare.ts";
import { storedWeights } from "./stored-weights.ts";
import { weightBytes } from "./weight-bytes.ts";

export interface PlanValue {
  readonly path: string;
  readonly value: unknown;
  readonly origin: Origin;
}

export interface Plan {
  /** The recipe's file, seen from the current folder. */
  readonly file: string | undefined;
  readonly values: readonly PlanValue[];
  readonly model: {
    readonly parameters: number;
    readonly trainable: number;
    /** Modules that the method changes; 0 where it trains the weights themselves. */
    readonly adaptedModules: number;
  };
  readonly data: DataPreview;
  /** Optimizer steps; undefined where streamed data do not tell. */
  readonly steps: number | undefined;
  readonly estimate: Estimate;
  /** What images have in the estimate, where the data have any. */
  readonly images: ImageEstimate | undefined;
  /** Floating-point operations per second of a matrix product here. */
  readonly productSpeed: number;
  readonly seconds: number | undefined;
  /** Bytes that this machine has left. */
  readonly availableMemory: number;
  readonly warnings: readonly string[];
}

/** Training samples that a plan shows. */
const SHOWN_SAMPLES = 2;

/** Plans a recipe. Throws a TunesmithError for everything that would keep it from starting. */
export async function planRecipe(
  source: RecipeSource,
  options: PrepareOptions = {},
): Promise<Plan> {
  const prepared = await prepare(source, options);
  const { compute, model } = prepared.recipe;
  const runtime = createRuntime({ threads: compute.threads });
  try {
    if (model.arithmetic === "int8") await checkIntegerProducts(runtime);
    return await planPrepared(prepared, runtime, options);
  } finally {
    await runtime.dispose();
    await prepared.checkpoint.close();
  }
}

async function planPrepared(
  prepared: Prepared,
  runtime: Runtime,
  options: PrepareOptions,
): Promise<Plan> {
  const { recipe, architecture, checkpoint } = prepared;
  const method = bindRecipeMethod(prepared);
  const data = await openRecipeData(prepared, options);
  checkLook(prepared, data, runtime);
  const { totalSteps } = await checkStart(prepared, data);
  const { trained: trainable, untrained } = countParameters(method);
  const { report } = data;
  const { train, data: wanted } = recipe;
  const longest = Math.min(wanted.maxLength, report.longest.tokens);
  // What is computed for a row, beside what it says.
  const virtual = method.virtualTokens?.count ?? 0;
  const rowTokens = wanted.packing ? wanted.maxLength : longest;
  const rowsPerStep = train.batchSize * train.gradientAccumulation;
  const meanTokens = report.tokens / report.samples;
  const tokensPerRow = wanted.packing ? rowTokens : meanTokens;
  const images =
    architecture.images &&
    report.images &&
    estimateImages(architecture.images, {
      architecture,
      method,
      counts: report.images,
      samples: report.samples,
      rows: train.batchSize,
      runSamples:
        rowsPerStep * (wanted.packing ? tokensPerRow / meanTokens : 1) * (totalSteps ?? 0),
      memory: train.memory,
      streaming: report.streaming,
    });
  const texts = estimate({
    dimensions: architecture.dimensions,
    weights: weightsOfTexts(architecture),
    logitCount: architecture.logitCount,
    head: headKind(method, architecture, isNarrowInFile(checkpoint)),
    weightBytes: weightBytes(architecture, checkpoint, {
      ...recipe.model,
      quantization: quantizationOf(recipe),
    }),
    trainable,
    optimizerSlots: train.optimizer === "adamw" ? 2 : 1,
    untrained,
    rows: train.batchSize,
    rowTokens: rowTokens + virtual,
    memory: train.memory,
    stepTokens: rowsPerStep * (tokensPerRow + virtual),
    stepTargets: rowsPerStep * tokensPerRow * (report.targets / report.tokens),
    steps: totalSteps ?? 0,
  });
  const costs = images ? together(texts, images) : texts;
  const productSpeed = await measureProductSpeed(runtime);
  const { memory } = await inspectMachine();
  return {
    file: prepared.file && relative(process.cwd(), prepared.file),
    values: valuesOf(prepared),
    model: {
      parameters: architecture.weights.reduce((sum, { shape }) => sum + sizeOf(shape), 0),
      trainable,
      adaptedModules: method.adapted?.length ?? 0,
    },
    data: { report, samples: await data.preview(SHOWN_SAMPLES) },
    steps: totalSteps,
    estimate: costs,
    images,
    productSpeed,
    seconds:
      totalSteps === undefined
        ? undefined
        : costs.floatingPointOperations / (productSpeed * USUAL_EFFICIENCY),
    availableMemory: memory.available,
    warnings: warningsOf(costs, memory.available, prepared.checkpoint),
  };
}

/** Both, where the encoder's memory stays beside the decoder's. */
const together = (texts: Estimate, images: ImageEstimate): Estimate => {
  const memory = [...texts.memory, ...images.memory];
  return {
    memory,
    memoryBytes: memory.reduce((sum, { bytes }) => sum + bytes, 0),
    floatingPointOperations: texts.floatingPointOperations + images.floatingPointOperations,
  };
};

function warningsOf(costs: Estimate, available: number, checkpoint: Checkpoint): string[] {
  const { widened } = storedWeights(checkpoint);
  return [
    ...(costs.memoryBytes <= available
      ? []
      : [
          "this may not fit into memory: use train.memory: lean, a smaller train.batchSize " +
            "(with more train.gradientAccumulation) or a smaller data.maxLength",
        ]),
    ...widened.map((weights) => `quantised weights are widened when they are read: ${weights}`),
  ];
}

function valuesOf({ recipe, origins }: Prepared): PlanValue[] {
  const paths = [...new Set(recipeKeys().map(({ path }) => path))];
  return paths.flatMap((path) => {
    const value = valueAt(recipe, path.split("."));
    const origin = origins.get(path);
    return value === undefined || origin === undefined ? [] : [{ path, value, origin }];
  });
}
