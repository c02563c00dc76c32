// From a recipe to everything that its run starts from: the model's files found or downloaded, its
// architecture and tokenizer read, and every open value of the recipe derived from them.

import { checkNewTokens } from "../engine/adapters/own-tokens.ts";
import { bindNewMethod } from "../engine/open-checks.ts";
import { textContext } from "../engine/text-context.ts";
import { checkpointView } from "../engine/weights/checkpoint-view.ts";
import { asClassifier } from "../engine/weights/new-head.ts";
import { asksForTokens, withNewTokens } from "../engine/weights/new-tokens.ts";
import {
  checkMethodOverQuantized,
  chooseQuantization,
} from "../engine/weights/quantized-weights.ts";
import { checkTensors } from "../engine/weights/weights.ts";
import { TunesmithError } from "../errors.ts";
import {
  type Checkpoint,
  type ImageProcessor,
  openCheckpoint,
  resolveModel,
  type Tokenizer,
} from "../hub/index.ts";
import {
  type BoundMethod,
  bindMethod,
  type ModelDescription,
  modelDescription,
} from "../methods/index.ts";
import { architectureFor, type BoundArchitecture, type Classifier } from "../models/index.ts";
import type { Attention } from "./attention.ts";
import { classifierFor } from "./classifier.ts";
import { chooseRunFolder, deriveRecipe, quantizationOf, type ResolvedRecipe } from "./derive.ts";
import { imageProcessorOf } from "./image-processor.ts";
import { type LoadedRecipe, type LoadOptions, loadRecipe } from "./load.ts";
import { withPlaces } from "./origins.ts";
import type { ParsedRecipe, RecipeInput } from "./schema.ts";

/** A recipe's file, the recipe as an object, or one that is already loaded. */
export type RecipeSource = string | RecipeInput | LoadedRecipe;

export interface PrepareOptions extends LoadOptions, Attention {
  /** Whether the run folder is that of an earlier run. */
  readonly resume?: boolean;
}

/** A model's folder or file on this disk, downloaded if need be. @throws the signal's reason */
export async function fetchModel(
  reference: string,
  { signal, onProgress }: Attention,
): Promise<string> {
  signal?.throwIfAborted();
  return resolveModel(reference, {
    signal,
    onProgress: (progress) => onProgress?.({ stage: "download", ...progress }),
  });
}

export interface Prepared extends ResolvedRecipe {
  /** The model's folder or file on this disk. */
  readonly modelPath: string;
  readonly checkpoint: Checkpoint;
  readonly architecture: BoundArchitecture;
  /** What the model is opened as, where its objective is not to continue texts. */
  readonly classifier: Classifier | undefined;
  readonly tokenizer: Tokenizer;
  /** Of a model that looks at images and says how it reads them. */
  readonly imageProcessor: ImageProcessor | undefined;
}

/**
 * Prepares a recipe. The caller closes `checkpoint`.
 *
 * @throws TunesmithError for faults of the recipe or the model's files; a method that does not fit
 * the model is told here too, before anything is loaded.
 */
export async function prepare(
  source: RecipeSource,
  options: PrepareOptions = {},
): Promise<Prepared> {
  const loaded = isLoaded(source) ? source : await loadRecipe(source, options);
  const { model, output } = loaded.recipe;
  const modelPath = await fetchModel(modelReference(model), options);
  const published = await openCheckpoint(modelPath);
  try {
    const { tokens: wanted } = loaded.recipe;
    const grown = asksForTokens(wanted) ? await withNewTokens(published, wanted) : published;
    const classifier = await classifierFor(loaded.recipe, grown, options);
    const { seed } = loaded.recipe.train;
    const checkpoint = classifier ? await asClassifier(grown, classifier, seed) : grown;
    const architecture = architectureFor(checkpoint.config, modelPath);
    const runFolder =
      output === undefined
        ? await chooseRunFolder(loaded.name, { resume: options.resume })
        : { path: output, why: "" };
    const description = modelDescription(architecture, checkpoint.config.model_type, modelPath);
    const method = bindNewMethod(loaded.recipe.method, description);
    checkPacking(method, loaded);
    const tokens = textContext({ architecture, method });
    const isLess = tokens < architecture.dimensions.maximumPositions;
    const resolved = deriveRecipe(loaded, {
      context: {
        tokens,
        source: `max_position_embeddings of the model${isLess ? ", less virtual tokens" : ""}`,
      },
      runFolder,
      looksAtImages: architecture.images !== undefined,
      ...(classifier && { classifier }),
      ...(grown.newTokens && { newTokens: { ...grown.newTokens, architecture } }),
      quantized: [...checkpoint.tensors.values()].find(({ quantization }) => quantization)
        ?.quantization,
    });
    if (grown.newTokens)
      checkNewTokens(
        bindMethod(resolved.recipe.method, description),
        grown.newTokens,
        architecture,
        options.onWarning,
      );
    const specs = architecture.weights;
    const quantization = quantizationOf(resolved.recipe);
    const { arithmetic, dtype } = resolved.recipe.model;
    const view = checkpointView(checkpoint, architecture);
    checkTensors(view, specs);
    chooseQuantization(quantization, view, undefined, arithmetic);
    checkMethodOverQuantized(method, { checkpoint: view, specs, dtype, quantization }, arithmetic);
    return {
      ...resolved,
      modelPath,
      checkpoint,
      architecture,
      classifier,
      tokenizer: await checkpoint.loadTokenizer(),
      imageProcessor: await imageProcessorOf(checkpoint.source, architecture),
    };
  } catch (error) {
    await published.close();
    throw withPlaces(error, loaded.origins);
  }
}

/** @throws TunesmithError (config) for packed rows under a method that averages over rows */
function checkPacking(method: BoundMethod, { recipe }: LoadedRecipe): void {
  if (!method.mixesPositions || !recipe.data.packing) return;
  throw new TunesmithError("config", {
    where: "data.packing",
    rule: `a row holds one sample under method ${method.name}, whose gates average over whole rows`,
    seen: "true",
    fix: "set data.packing: false, or use a union without gates",
  });
}

/** The recipe's model as its method sees it. */
export const describeRecipeModel = ({
  architecture,
  checkpoint,
  modelPath,
}: Prepared): ModelDescription =>
  modelDescription(architecture, checkpoint.config.model_type, modelPath);

/** The recipe's method bound to its model; throws where it does not fit. */
export const bindRecipeMethod = (prepared: Prepared): BoundMethod =>
  bindMethod(prepared.recipe.method, describeRecipeModel(prepared));

/** What the hub layer takes: a path, or a hub id with its revision. */
function modelReference({ path, id, revision }: ParsedRecipe["model"]): string {
  if (path !== undefined) return path;
  return revision === undefined ? id! : `${id}@${revision}`;
}

function isLoaded(source: RecipeSource): source is LoadedRecipe {
  return typeof source === "object" && "origins" in source;
}
