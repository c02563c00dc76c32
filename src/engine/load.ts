// Opening a model: checkpoint, architecture, method and parameters put together.

import { join } from "node:path";
import { TunesmithError } from "../errors.ts";
import {
  type Adapter,
  type Checkpoint,
  type JsonObject,
  openCheckpoint,
  ownCacheFolder,
  type QuantizationOptions,
  readAdapter,
  type Tokenizer,
} from "../hub/index.ts";
import {
  type BoundMethod,
  bindMethod,
  type MethodOptions,
  type ModelDescription,
  methodDefinition,
  methodOfAdapter,
  type ParameterSpec,
  type Vocabulary,
} from "../methods/index.ts";
import { architectureFor, type BoundArchitecture } from "../models/index.ts";
import { createRuntime, type Runtime } from "../runtime/kernel.ts";
import { countTargets } from "./batch.ts";
import { checkEncoder } from "./computed-tensors.ts";
import type { Model } from "./model.ts";
import { createNetwork } from "./network.ts";
import { createParameters, firstValues, type ParameterSet } from "./parameters.ts";
import { checkMethodOverQuantized, isQuantized } from "./quantized-weights.ts";
import { saveMerged, saveTrained, type Trained } from "./save.ts";
import { takeStartingPart } from "./starting-part.ts";
import { loadWeights, type WeightStore } from "./weights.ts";

export interface OpenOptions {
  /** Folder of a PEFT adapter to put on the model; it is trainable as any other. */
  readonly adapter?: string;
  /** What to train; without it (and without an adapter) the model only runs. */
  readonly method?: MethodOptions;
  /**
   * "auto" (default) keeps a 16-bit checkpoint 16-bit in memory and a quantised one quantised;
   * "float32" is faster and larger.
   */
  readonly dtype?: "auto" | "float32";
  /** Keeps the linear weights in 4 or 8 bits. Default: as the method wants them. */
  readonly quantization?: QuantizationOptions;
  /** Folder where quantised weights of large models are kept for the next start. */
  readonly quantizationCache?: string;
  /** "fast" (default) or "lean": everything recomputed in the backward pass. */
  readonly memory?: "fast" | "lean";
  /** Seeds the first values of trained tensors. Default 0. */
  readonly seed?: number;
  /** Threads; default: all cores. */
  readonly threads?: number;
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
  loadTokenizer(): Promise<Tokenizer>;
  /** Writes a checkpoint with everything trained made part of the weights. */
  merge(directory: string): Promise<void>;
}

/**
 * Opens a model folder or GGUF file.
 * @throws TunesmithError (checkpoint) for files that are damaged or do not fit each other, (config)
 *   for a method that does not fit the model
 */
export async function openModel(path: string, options: OpenOptions = {}): Promise<EngineModel> {
  const checkpoint = await openCheckpoint(path);
  try {
    return await assemble(checkpoint, options);
  } catch (error) {
    await checkpoint.close();
    throw error;
  }
}

async function assemble(checkpoint: Checkpoint, options: OpenOptions): Promise<EngineModel> {
  const { adapter: adapterFolder, dtype = "auto", memory = "fast", seed = 0 } = options;
  const architecture = architectureFor(checkpoint.config, `${checkpoint.source}/config.json`);
  const description: ModelDescription = {
    modelType: String(checkpoint.config.model_type),
    dimensions: architecture.dimensions,
    weights: architecture.weights,
    blocks: architecture.blocks,
    outputPath: architecture.outputPath,
    outputName: architecture.outputName,
    source: checkpoint.source,
  };
  const adapter = adapterFolder ? await readAdapter(adapterFolder) : undefined;
  const methodOptions = adapter ? methodOfAdapter(adapter, adapterFolder!) : options.method;
  const method = methodOptions && bindMethod(methodOptions, description);
  const quantization =
    options.quantization ??
    (methodOptions && !isQuantized(checkpoint)
      ? methodDefinition(methodOptions.name).quantization
      : undefined);
  const folder = options.quantizationCache ?? join(ownCacheFolder(process.env), "quantized");
  const frozen = { checkpoint, specs: architecture.weights, quantization, cache: { folder } };
  if (method) checkMethodOverQuantized(method, frozen);
  const weights = await loadWeights(frozen, dtype);
  const stored = adapter && method ? adapterValues(adapter, method, adapterFolder!) : undefined;
  const first = firstValues(
    seed,
    async (name) => weights.copy(name),
    vocabularyOf(checkpoint, architecture, weights),
  );
  const initial = method ? await takeStartingPart(method, weights, first) : new Map();
  const parameters = await createParameters(
    method?.parameters ?? [],
    first,
    stored ?? new Map([...initial].map(([key, data]) => [key, data.slice()])),
  );
  forgetReplaced(weights, architecture, method);

  const runtime = createRuntime({ threads: options.threads });
  const parts = { architecture, method, weights, parameters, runtime };
  if (adapter) await checkEncoder(parts, adapter, adapterFolder!);
  const network = createNetwork({ ...parts, memory });
  const trained: Trained = { ...parts, checkpoint, initial };
  return {
    source: checkpoint.source,
    config: checkpoint.config,
    generationConfig: checkpoint.generationConfig,
    architecture,
    method,
    weights,
    parameterSet: parameters,
    runtime,
    parameters: parameters.all,
    ...scheduleOf(method, parameters),
    accumulateGradients: network.accumulateGradients,
    evaluateLoss: network.evaluateLoss,
    async forward(batch) {
      const logits = await network.logits(batch);
      if (!batch.labels || countTargets(batch.labels) === 0) return { logits };
      const { lossSum, tokenCount } = await network.evaluateLoss(batch);
      return { logits, loss: lossSum / tokenCount };
    },
    loadTokenizer: () => checkpoint.loadTokenizer(),
    saveAdapter: (directory) => saveTrained(trained, directory),
    merge: (directory) => saveMerged(trained, directory),
    async dispose() {
      await runtime.dispose();
      await checkpoint.close();
    },
  };
}

/** The checkpoint's tokens; the tokenizer is read where a text is asked about. */
function vocabularyOf(
  checkpoint: Checkpoint,
  { embeddingName, dimensions }: BoundArchitecture,
  weights: WeightStore,
): Vocabulary {
  return {
    ids: async (text) => (await checkpoint.loadTokenizer()).encode(text),
    async embeddings(ids) {
      const rows = new Float32Array(ids.length * dimensions.hiddenSize);
      weights.readRows(embeddingName, ids, rows);
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

/** The adapter's tensors by parameter key. @throws TunesmithError (checkpoint) for what does not fit */
function adapterValues(
  adapter: Adapter,
  method: BoundMethod,
  folder: string,
): Map<string, Float32Array> {
  const values = new Map<string, Float32Array>();
  const faults = [];
  const read = method.saved === "checkpoint" ? undefined : method.saved.read;
  const tensors = read ? read(adapter.tensors, adapter.encoder) : adapter.tensors;
  for (const { key, shape, state, derived } of method.parameters) {
    if (state || derived) continue;
    const tensor = tensors.get(key);
    if (tensor && tensor.shape.join() === shape.join()) {
      values.set(key, tensor.data);
      continue;
    }
    faults.push({
      where: `${folder}: ${key}`,
      rule: `the base model asks for a tensor of shape [${shape.join(", ")}]`,
      seen: tensor ? `[${tensor.shape.join(", ")}]` : "no such tensor",
      fix: `use the adapter with its own base (${adapter.config.base_model_name_or_path ?? "not named"})`,
    });
  }
  const known = new Set(method.parameters.map((spec) => spec.key));
  // PEFT also saves the frozen embedding beside adapters that touch it; it is the base's own.
  for (const key of tensors.keys())
    if (!known.has(key) && !/embed_tokens\.weight$|base_layer\.weight$/.test(key))
      faults.push({
        where: `${folder}: ${key}`,
        rule: "every tensor of an adapter has a place in the base model",
        seen: "a tensor that has none",
        fix: "use the adapter with its own base",
      });
  if (faults.length > 0) throw new TunesmithError("checkpoint", faults.slice(0, 10));
  return values;
}
