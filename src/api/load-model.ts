// `loadModel`: the small public numerics API, over the engine.

import { type Batch, targetsOfBatch } from "../engine/batch.ts";
import { type EngineModel, openModel } from "../engine/load.ts";
import type { Arithmetic } from "../engine/weights/integer-operands.ts";
import type { ModelDtype } from "../engine/weights/model-dtype.ts";
import type { NewTokensOptions } from "../engine/weights/new-tokens.ts";
import { TunesmithError } from "../errors.ts";
import { createRequests, generate } from "../generate/index.ts";
import { type QuantizationType, resolveModel } from "../hub/index.ts";
import type { MethodOptions } from "../methods/index.ts";
import { type Problem, usualProblem } from "../models/index.ts";
import { disposed } from "../runtime/disposed.ts";
import { zeroGradients } from "../runtime/optimizer.ts";
import { createAdamWSteps } from "./adamw-steps.ts";
import { classify } from "./classify.ts";
import { type AdapterOptions, createLoadedAdapters } from "./loaded-adapters.ts";
import type { LoadedModel } from "./loaded-model.ts";

export interface LoadModelOptions {
  /** Folder of a PEFT adapter to put on the model. */
  readonly adapter?: string;
  /** Folders of adapters to choose from call by call, by name: see `LoadedModel.adapters`. */
  readonly adapters?: Readonly<Record<string, string>>;
  /**
   * Opens the model as a classifier of these labels: one that continues texts gets a head that is new.
   * Default: what its files say, or the adapter's. `problem` says what the head's numbers mean; default:
   * one label is right, or, of a single label, the number is a value.
   */
  readonly classifier?: { readonly labels: readonly string[]; readonly problem?: Problem };
  /**
   * Tokens that the model is given beyond those of its files, as `{ special: ["<call>"], padToken: "<pad>" }`;
   * new rows of its embedding start as the mean of the others. An adapter brings its own.
   */
  readonly tokens?: NewTokensOptions;
  /** What to train, such as `{ name: "lora", rank: 8 }`. */
  readonly method?: MethodOptions;
  /**
   * What `init: "eva"` looks at, over and over until it has seen enough (an array, not a generator);
   * nothing else reads it.
   */
  readonly data?: Iterable<Batch> | AsyncIterable<Batch>;
  /**
   * Whether the model can be trained. Default: whether there is an adapter or a method. True without
   * either trains every weight; false with an adapter only runs it.
   */
  readonly trainable?: boolean;
  /**
   * "auto" (default) keeps a 16-bit checkpoint 16-bit in memory and a quantised one quantised;
   * "float32" is faster and larger; "q4" and "q8" are for running a model: small, and fastest token by
   * token.
   */
  readonly dtype?: ModelDtype;
  /** Keeps linear weights in 4 bits (nf4, fp4) or 8 (int8). Default: nf4 for method qlora. */
  readonly quantization?: QuantizationType;
  /** Whether the scales of 4-bit blocks are kept in 8 bits. Default true. */
  readonly doubleQuantization?: boolean;
  /** Weights of a 4-bit block: a power of two from 32 to 4096. Default 64. */
  readonly quantizationBlockSize?: number;
  /**
   * How products with frozen linear weights are computed: "float32" (default) or "int8", in 8-bit
   * integers: faster, rounded, and those weights are kept as int8.
   */
  readonly arithmetic?: Arithmetic;
  /** "fast" (default), or "lean": less memory, everything recomputed in the backward pass. */
  readonly memory?: "fast" | "lean";
  /** Seeds the first values of trained tensors. Default 0. */
  readonly seed?: number;
  /** Threads; default: all cores. */
  readonly threads?: number;
  /** Aborting ends the download, or the reading of weights, with the signal's reason. */
  readonly signal?: AbortSignal;
  /** Told what is odd but no fault, such as an adapter of another model. Default: `process.emitWarning`. */
  readonly onWarning?: (warning: string) => void;
}

/**
 * Loads a model to be run, differentiated, trained and asked to continue texts.
 *
 * @param reference a checkpoint folder, a GGUF file, or a hub id such as `owner/name`
 * @throws TunesmithError (checkpoint) for files that are damaged or do not fit each other, (config)
 *   for options that do not
 * @example
 *     await using model = await loadModel("./SmolLM2-135M-Instruct", {
 *       method: { name: "lora", rank: 8, targets: ["q_proj", "v_proj"] },
 *     });
 *     const inputIds = [[1, 4093, 198, 2]];
 *     const { loss, gradients } = await model.lossAndGradients({ inputIds, labels: inputIds });
 *     await model.trainStep({ inputIds, labels: inputIds }, { learningRate: 2e-4, maxGradNorm: 1 });
 *     await model.saveAdapter("./my-adapter");
 */
export async function loadModel(
  reference: string,
  options: LoadModelOptions = {},
): Promise<LoadedModel> {
  const { adapter, method, trainable = adapter !== undefined || method !== undefined } = options;
  checkOptions(options);
  const { data, classifier, signal } = options;
  const engine = await openModel(await resolveModel(reference, { signal }), {
    adapter,
    ...(classifier && {
      classifier: { problem: usualProblem(classifier.labels), ...classifier },
    }),
    tokens: options.tokens,
    method: method ?? (trainable && adapter === undefined ? { name: "full" } : undefined),
    dtype: options.dtype,
    quantization: {
      type: options.quantization,
      doubleQuantization: options.doubleQuantization,
      blockSize: options.quantizationBlockSize,
    },
    arithmetic: options.arithmetic,
    memory: options.memory,
    seed: options.seed,
    threads: options.threads,
    signal,
    onWarning: options.onWarning ?? ((warning) => process.emitWarning(warning, "TunesmithWarning")),
    ...(data && { data: { batches: () => data } }),
  });
  const model = createLoadedModel(engine, trainable);
  try {
    for (const [name, folder] of Object.entries(options.adapters ?? {}))
      await model.adapters.load(name, folder);
    return model;
  } catch (error) {
    await model.dispose();
    throw error;
  }
}

function checkOptions({ adapter, method, trainable }: LoadModelOptions): void {
  const fault = (seen: string, fix: string) =>
    new TunesmithError("config", {
      where: "loadModel",
      rule: "adapter, method and trainable agree about what is trained",
      seen,
      fix,
    });
  if (adapter !== undefined && method !== undefined)
    throw fault("both adapter and method", "leave method out: an adapter brings its own");
  if (method !== undefined && trainable === false)
    throw fault("a method, and trainable: false", "leave one of them out");
}

function createLoadedModel(engine: EngineModel, trainable: boolean): LoadedModel {
  const adamwStep = createAdamWSteps(engine.parameters);
  let steps = 0;
  let last: Promise<unknown> = Promise.resolve();
  let disposal: Promise<void> | undefined;

  /** Gradients and scratch memory belong to one call at a time. */
  const inTurn = <T>(work: () => Promise<T>): Promise<T> => {
    if (disposal) return Promise.reject(disposed());
    const result = last.then(work);
    last = result.catch(() => undefined);
    return result;
  };

  /** Leaves the gradient of the mean loss, and of what the method adds to it, in the parameters. */
  const differentiate = async (batch: Batch, seed: number) => {
    if (!trainable || engine.parameters.length === 0) throw nothingTrained();
    const targets = targetsOfBatch(batch);
    if (targets === 0) throw noLabels(batch);
    zeroGradients(engine.parameters);
    const { lossSum, auxiliaryLoss: methodLoss } = await engine.accumulateGradients(batch, {
      scale: 1 / targets,
      seed,
    });
    const loss = lossSum / targets + (methodLoss ?? 0);
    return { loss, ...(methodLoss !== undefined && { methodLoss }) };
  };

  const adapters = createLoadedAdapters(engine.adapters, inTurn);
  /** The model as a call wants it; a trained model is its own only one. */
  const chosen = ({ adapters: selection = adapters.active }: AdapterOptions, rows: number) =>
    engine.adapters.select(selection, rows);

  const dispose = (): Promise<void> => {
    disposal ??= last.then(() => engine.dispose());
    return disposal;
  };

  return {
    parameters: Object.fromEntries(
      engine.parameters.map(({ name, data, shape }) => [name, { data, shape }]),
    ),
    adapters,
    forward: (batch, options = {}) =>
      inTurn(async () => (await chosen(options, batch.inputIds.length)).forward(batch)),
    lossAndGradients: (batch, { seed = 0 } = {}) =>
      inTurn(async () => {
        const losses = await differentiate(batch, seed);
        const gradients = Object.fromEntries(
          engine.parameters.map(({ name, shape, gradient }) => [
            name,
            { data: gradient.slice(), shape },
          ]),
        );
        zeroGradients(engine.parameters);
        return { ...losses, gradients };
      }),
    trainStep: (batch, options) =>
      inTurn(async () => {
        if (steps === 0) engine.schedule?.begin();
        const losses = await differentiate(batch, steps);
        const { gradNorm, gradientScale } = adamwStep(options);
        engine.schedule?.afterStep(steps, gradientScale);
        steps++;
        zeroGradients(engine.parameters);
        return { ...losses, gradNorm };
      }),
    generate: (options) =>
      inTurn(async () => {
        const reads = options.stopStrings?.length || options.responseFormat !== undefined;
        const tokenizer = reads ? await engine.loadTokenizer() : undefined;
        return generate(engine, { tokenizer, adapters: adapters.active, ...options });
      }),
    requests({ tokenizer, ...options } = {}) {
      const requests = createRequests({ model: engine, tokenizer, inTurn }, options);
      return {
        get running() {
          return requests.running;
        },
        get waiting() {
          return requests.waiting;
        },
        submit: (request) => requests.submit({ adapter: adapters.active, ...request }),
      };
    },
    classify: (texts, { signal, ...options } = {}) =>
      inTurn(() => classify(texts, engine, { modelFor: (rows) => chosen(options, rows), signal })),
    saveAdapter: (directory) => inTurn(() => engine.saveAdapter(directory)),
    merge: (directory, how) => inTurn(() => engine.merge(directory, how)),
    loadTokenizer: () => inTurn(() => engine.loadTokenizer()),
    dispose,
    [Symbol.asyncDispose]: dispose,
  };
}

const nothingTrained = () =>
  new TunesmithError("config", {
    where: "model",
    rule: "gradients need something that is trained",
    seen: "a model loaded to be run only",
    fix: 'load it with a method, such as { method: { name: "lora" } }, or with trainable: true',
  });

const noLabels = ({ labels }: Batch) =>
  new TunesmithError("data", {
    where: "batch: labels",
    rule: "at least one label after the first position counts",
    seen: labels ? "labels of which none counts" : "no labels",
    fix: "pass labels: the token ids themselves, with -100 where the loss must not look",
  });
