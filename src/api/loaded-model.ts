// A model in numbers: what `loadModel` returns. For research, and for anyone who wants to hold
// tunesmith against another implementation: plain arrays in, plain arrays out.

import type { Batch } from "../engine/batch.ts";
import type { NumericArray } from "../engine/model.ts";
import type { FolderOptions } from "../engine/save.ts";
import type { RequantizationLoss } from "../engine/weights/requantization.ts";
import type {
  GenerateOptions,
  GenerateResult,
  Requests,
  RequestsOptions,
} from "../generate/index.ts";
import type { Tokenizer } from "../hub/index.ts";
import type { Verdict } from "../objectives/index.ts";
import type { Classified } from "./classify.ts";
import type { AdapterOptions, LoadedAdapters } from "./loaded-adapters.ts";

export interface ForwardResult {
  /** [batch, seq, vocabulary]; of a classifier [batch, labels]. */
  readonly logits: NumericArray;
  /** Mean over the labels that are not -100, shifted by one, or over labelled rows; only where there are any. */
  readonly loss?: number;
}

/** A loss in training. */
export interface TrainingLoss {
  /** Mean over the labels, plus `methodLoss`: what gradients are of. */
  readonly loss: number;
  /** What the method adds, where it adds anything: balancing of experts, orthogonality of factors. */
  readonly methodLoss?: number;
}

export interface LossAndGradients extends TrainingLoss {
  /** Copies, by the key that each trained tensor has in the saved file. */
  readonly gradients: Record<string, NumericArray>;
}

export interface GradientSettings {
  /** Seeds dropout, which is on as in training. Default 0. */
  readonly seed?: number;
}

/** Of `torch.optim.AdamW`, with its defaults: every trained tensor decays, biases and norms too. */
export interface TrainStepOptions {
  readonly learningRate: number;
  /** Decoupled from the gradient. Default 0.01. */
  readonly weightDecay?: number;
  /** Decay rates of the two moments. Default [0.9, 0.999]. */
  readonly betas?: readonly [number, number];
  /** Default 1e-8. */
  readonly eps?: number;
  /** All gradients together are scaled down to this norm; without it they are left as they are. */
  readonly maxGradNorm?: number;
}

/** The loss is that before the update. */
export interface TrainStepResult extends TrainingLoss {
  /** Norm of all gradients together, before clipping. */
  readonly gradNorm: number;
}

/**
 * A model in memory. Calls may overlap; they are carried out one after another. After `dispose`
 * every other method throws a TunesmithError (run). What takes long has a signal (`generate`, each of
 * the `requests`, `classify`, `merge`); the others are done with one batch.
 */
export interface LoadedModel extends AsyncDisposable {
  /** The trained tensors' current values, by the key that each has in the saved file: not copies. */
  readonly parameters: Readonly<Record<string, NumericArray>>;
  /** Further adapters, to choose from call by call; of a model that was loaded without a method. */
  readonly adapters: LoadedAdapters;
  /** Runs the model without dropout. @throws TunesmithError (data, shape) for a batch it cannot read */
  forward(batch: Batch, options?: AdapterOptions): Promise<ForwardResult>;
  /**
   * The mean loss and its gradient, leaving the model as it was.
   * @throws TunesmithError (config) where nothing is trained, (data) where no label counts
   */
  lossAndGradients(batch: Batch, settings?: GradientSettings): Promise<LossAndGradients>;
  /** One AdamW update; the optimizer's state stays from call to call. Throws as `lossAndGradients`. */
  trainStep(batch: Batch, options: TrainStepOptions): Promise<TrainStepResult>;
  /**
   * Continues prompts of any lengths; greedy unless a temperature is given.
   * @throws TunesmithError (config) for options out of range or prompts that leave no room
   */
  generate(options: GenerateOptions): Promise<GenerateResult>;
  /**
   * A batch that requests join and leave, each with prompt, options, adapter and signal of its own. Other
   * calls are carried out between its rounds; what they do to weights shows in answers from there on.
   * @param options `tokenizer` is needed for text and stop strings
   */
  requests(options?: RequestsOptions & { readonly tokenizer?: Tokenizer }): Requests;
  /**
   * What a classifier says of texts or conversations, in their order.
   * @throws TunesmithError (config) for a model that continues texts
   */
  classify(
    texts: readonly Classified[],
    options?: AdapterOptions & { readonly signal?: AbortSignal },
  ): Promise<Verdict[]>;
  /** Writes the trained tensors as PEFT does (all weights, if those were trained) into a folder. */
  saveAdapter(directory: string): Promise<void>;
  /**
   * Writes a checkpoint folder with everything trained made part of the weights; over quantised
   * weights it is unquantised, and what quantising it again would lose is told.
   */
  merge(directory: string, options?: FolderOptions): Promise<RequantizationLoss | undefined>;
  loadTokenizer(): Promise<Tokenizer>;
  /**
   * Lets calls before it finish, then frees kernels and files; memory goes with the last reference to the
   * model. Calling it again does nothing.
   */
  dispose(): Promise<void>;
}
