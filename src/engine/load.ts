// Opening a model: checkpoint, architecture, method and parameters put together.

import { join } from "node:path";
import {
  type Adapter,
  type Checkpoint,
  type GgufDtype,
  type JsonObject,
  openCheckpoint,
  ownCacheFolder,
  readAdapter,
  type Tokenizer,
  untilAborted,
} from "../hub/index.ts";
import {
  type BoundMethod,
  type MethodOptions,
  methodDefinition,
  methodOfAdapter,
  modelDescription,
  type ParameterSpec,
  type Vocabulary,
} from "../methods/index.ts";
import { architectureFor, type BoundArchitecture, type Classifier } from "../models/index.ts";
import { checkIntegerProducts } from "../runtime/integer-products.ts";
import { createRuntime, type Runtime } from "../runtime/kernel.ts";
import { sizeOf } from "../tensor/index.ts";
import { type AdaptedModel, type AdapterSet, createAdapterSet } from "./adapters/adapter-set.ts";
import { otherBaseWarning } from "./adapters/base-name.ts";
import { adapterValues, bindAdapter } from "./adapters/bind-adapter.ts";
import { checkNewTokens, withTokensOf } from "./adapters/own-tokens.ts";
import { checkEncoder } from "./computed-tensors.ts";
import { embedTokens } from "./embedding.ts";
import { forwardWith } from "./forward.ts";
import { isOfImages } from "./images.ts";
import type { Model } from "./model.ts";
import { createNetwork } from "./network.ts";
import {
  type OnnxDtype,
  type OnnxFolderOptions,
  saveMergedOnnx,
} from "./onnx-export/write-onnx.ts";
import { bindNewMethod, checkDtype } from "./open-checks.ts";
import { createParameters, firstValues, type ParameterSet } from "./parameters.ts";
import {
  type FolderOptions,
  saveMerged,
  saveMergedGguf,
  saveTrained,
  type Trained,
} from "./save.ts";
import { type DecisionSources, decide, probeFor } from "./starting-data.ts";
import { checkpointView } from "./weights/checkpoint-view.ts";
import type { Arithmetic } from "./weights/integer-operands.ts";
import { isForRunning, type ModelDtype } from "./weights/model-dtype.ts";
import { asClassifier, classifierOfAdapter } from "./weights/new-head.ts";
import { asksForTokens, type NewTokensOptions, withNewTokens } from "./weights/new-tokens.ts";
import {
  type AskedQuantization,
  checkMethodOverQuantized,
  chooseQuantization,
} from "./weights/quantized-weights.ts";
import type { RequantizationLoss } from "./weights/requantization.ts";
import { takeStartingPart } from "./weights/starting-part.ts";
import { loadWeights, type WeightStore } from "./weights/weights.ts";

export interface OpenOptions extends DecisionSources {
  /** Folder of a PEFT adapter to put on the model; it is trainable as any other. */
  readonly adapter?: string;
  /**
   * Opens the model as a classifier: one that continues texts gets a new head, which is trained with the
   * rest. Default: as its files say, or the adapter's.
   */
  readonly classifier?: Classifier;
  /** Tokens that the model is given beyond those of its files. An adapter brings its own. */
  readonly tokens?: NewTokensOptions;
  /** What to train; without it (and without an adapter) the model only runs. */
  readonly method?: MethodOptions;
  /**
   * "auto" (default) keeps a 16-bit checkpoint 16-bit in memory and a quantised one quantised;
   * "float32" is faster and larger; "q4" and "q8" are for running a model: small, and fastest token by
   * token.
   */
  readonly dtype?: ModelDtype;
  /** Keeps the linear weights in 4 or 8 bits. Default: as the method wants them. */
  readonly quantization?: AskedQuantization;
  /** How products with frozen linear weights are computed; "int8" keeps those weights as int8. */
  readonly arithmetic?: Arithmetic;
  /** Folder where quantised weights of large models are kept for the next start. */
  readonly quantizationCache?: string;
  /** "fast" (default) or "lean": everything recomputed in the backward pass. */
  readonly memory?: "fast" | "lean";
  /** Seeds the first values of trained tensors. Default 0. */
  readonly seed?: number;
  /** Threads; default: all cores. */
  readonly threads?: number;
  /** Aborting ends the reading of weights, and the look at data, with the signal's reason. */
  readonly signal?: AbortSignal | undefined;
  /** Told what looks wrong and may be right: an adapter that names another base. */
  readonly onWarning?: (warning: string) => void;
}

/** A loaded model, with what generation and saving need of its parts. */
export interface EngineModel extends Model {
  readonly source: string;
  readonly config: JsonObject;
  readonly generationConfig: JsonObject | undefined;
  readonly architecture: BoundArchitecture;
  readonly method: BoundMethod | undefined;
  readonly weights: WeightStore;
  readonly parameterSet: ParameterSet;
  readonly runtime: Runtime;
  /** Further adapters, chosen call by call, on a model without a method. */
  readonly adapters: AdapterSet;
  loadTokenizer(): Promise<Tokenizer>;
  /** Writes a checkpoint with everything trained made part of the weights; tells what quantising it again would lose. */
  merge(directory: string, options?: FolderOptions): Promise<RequantizationLoss | undefined>;
  /** Writes the same as one GGUF file. Aborting ends it with the signal's reason. */
  exportGguf(path: string, dtype: GgufDtype, signal?: AbortSignal): Promise<void>;
  /** Writes the same as a folder for ONNX Runtime in browsers and in Node, in each of the types. */
  exportOnnx(
    directory: string,
    dtypes: readonly OnnxDtype[],
    options?: OnnxFolderOptions,
  ): Promise<void>;
}

/**
 * Opens a model folder or GGUF file.
 * @throws TunesmithError (checkpoint) for files that are damaged or do not fit each other, (config)
 *   for a method that does not fit the model, for arithmetic that this processor has not
 */
export async function openModel(path: string, options: OpenOptions = {}): Promise<EngineModel> {
  const checkpoint = await openCheckpoint(path);
  const runtime = createRuntime({ threads: options.threads });
  try {
    return await assemble(checkpoint, runtime, options);
  } catch (error) {
    await runtime.dispose();
    await checkpoint.close();
    throw error;
  }
}

async function assemble(
  opened: Checkpoint,
  runtime: Runtime,
  options: OpenOptions,
): Promise<EngineModel> {
  const { adapter: adapterFolder, dtype = "auto", memory = "fast", seed = 0 } = options;
  const { arithmetic = "float32" } = options;
  const adapter = adapterFolder ? await readAdapter(adapterFolder) : undefined;
  const classifier =
    options.classifier ?? (adapter && classifierOfAdapter(adapter, adapterFolder!));
  const grown = await withTokens(opened, options, adapter);
  const published = classifier ? await asClassifier(grown, classifier, seed) : grown;
  const architecture = architectureFor(published.config, `${published.source}/config.json`);
  const checkpoint = checkpointView(published, architecture);
  const description = modelDescription(
    architecture,
    checkpoint.config.model_type,
    checkpoint.source,
  );
  const methodOptions = adapter ? methodOfAdapter(adapter, adapterFolder!) : options.method;
  const asked =
    methodOptions &&
    (adapter
      ? bindAdapter(methodOptions, adapter, adapterFolder!, description)
      : bindNewMethod(methodOptions, description));
  if (asked && checkpoint.newTokens)
    checkNewTokens(asked, checkpoint.newTokens, architecture, options.onWarning);
  checkDtype(dtype, options);
  const probe =
    methodOptions && !adapter ? probeFor(methodOptions, description, options, runtime) : undefined;
  const usual = methodOptions && methodDefinition(methodOptions.name).quantization;
  const quantization = isForRunning(dtype)
    ? undefined
    : chooseQuantization(options.quantization, checkpoint, usual, arithmetic);
  if (arithmetic === "int8") await checkIntegerProducts(runtime);
  const folder = options.quantizationCache ?? join(ownCacheFolder(process.env), "quantized");
  const frozen = {
    checkpoint: untilAborted(checkpoint, options.signal),
    specs: architecture.weights,
    dtype,
    quantization,
    cache: { folder },
  };
  if (asked) checkMethodOverQuantized(asked, frozen, arithmetic);
  const weights = await loadWeights(frozen, arithmetic);
  const frozenParts = { architecture, weights, runtime };
  const decided = probe && (await decide(methodOptions!, probe, description, options, frozenParts));
  const method = decided?.method ?? asked;
  const stored =
    adapter && method ? adapterValues(adapter, method, adapterFolder!, architecture) : undefined;
  const first = firstValues(
    seed,
    async (name) => weights.copy(name),
    vocabularyOf(checkpoint, architecture, weights),
    async (name) => {
      const { shape } = architecture.weights.find((weight) => weight.name === name)!;
      const data = new Float32Array(sizeOf(shape));
      await checkpoint.readFloat32Into(name, data);
      return data;
    },
  );
  const initial = method ? await takeStartingPart(method, weights, first) : new Map();
  const parameters = await createParameters(
    method?.parameters ?? [],
    first,
    stored ?? decided?.values ?? new Map([...initial].map(([key, data]) => [key, data.slice()])),
    isOfImages(architecture.images),
  );
  forgetReplaced(weights, architecture, method);

  const parts = { architecture, method, weights, parameters, runtime };
  if (adapter) await checkEncoder(parts, adapter, adapterFolder!);
  const warning =
    adapter && otherBaseWarning({ config: adapter.config, folder: adapterFolder! }, checkpoint);
  if (warning) options.onWarning?.(warning);
  const network = createNetwork({ ...parts, memory });
  const trained: Trained = { ...parts, checkpoint, initial };
  const running: AdaptedModel = {
    config: checkpoint.config,
    generationConfig: checkpoint.generationConfig,
    architecture,
    method,
    weights,
    parameterSet: parameters,
    runtime,
    evaluateLoss: network.evaluateLoss,
    forward: forwardWith(network),
  };
  return {
    ...running,
    source: checkpoint.source,
    ...(architecture.classifier && { classifier: architecture.classifier }),
    adapters: createAdapterSet({ ...parts, description, memory, first, base: running }),
    parameters: parameters.all,
    ...scheduleOf(method, parameters),
    accumulateGradients: network.accumulateGradients,
    loadTokenizer: () => checkpoint.loadTokenizer(),
    saveAdapter: (directory) => saveTrained(trained, directory),
    merge: (directory, how) => saveMerged(trained, directory, how),
    exportGguf: (path, type, signal) => saveMergedGguf(trained, path, type, signal),
    exportOnnx: (directory, types, written) => saveMergedOnnx(trained, directory, types, written),
    async dispose() {
      await runtime.dispose();
      await checkpoint.close();
    },
  };
}

/** The checkpoint with the tokens asked for, or with the adapter's. */
function withTokens(
  checkpoint: Checkpoint,
  { adapter: folder, tokens, onWarning }: OpenOptions,
  adapter: Adapter | undefined,
): Checkpoint | Promise<Checkpoint> {
  if (adapter) return withTokensOf(adapter, folder!, checkpoint, onWarning);
  return tokens && asksForTokens(tokens) ? withNewTokens(checkpoint, tokens) : checkpoint;
}

/** The checkpoint's tokens; the tokenizer is read where a text is asked about. */
function vocabularyOf(
  checkpoint: Checkpoint,
  architecture: BoundArchitecture,
  weights: WeightStore,
): Vocabulary {
  return {
    ids: async (text) => (await checkpoint.loadTokenizer()).encode(text),
    async embeddings(ids) {
      const rows = new Float32Array(ids.length * architecture.dimensions.hiddenSize);
      embedTokens(architecture, weights, ids, rows);
      return rows;
    },
  };
}

/** Weights that are trained live in their parameters alone, unless something else reads them too. */
function forgetReplaced(
  weights: WeightStore,
  architecture: BoundArchitecture,
  method: BoundMethod | undefined,
): void {
  const outputUse = `${architecture.outputPath}.weight`;
  for (const name of method?.replaces.keys() ?? []) {
    const readByOutput = name === architecture.outputName && !method!.replaces.has(outputUse);
    if (weights.has(name) && !readByOutput) weights.drop(name);
  }
}

/** The method's schedule over the tensors that it plans for. */
function scheduleOf(
  method: BoundMethod | undefined,
  { parameter, state }: ParameterSet,
): Pick<Model, "schedule"> {
  const schedule = method?.schedule;
  if (!schedule) return {};
  const values = (spec: ParameterSpec) => parameter(spec).data;
  const gradients = (spec: ParameterSpec) => parameter(spec).gradient;
  return {
    schedule: {
      state,
      begin: (totalSteps) => schedule.begin(totalSteps, values),
      afterStep: (step, scale) => schedule.afterStep(step, values, gradients, scale),
    },
  };
}
