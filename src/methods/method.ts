// What a tuning method provides. It declares which tensors it trains, how they start, and what it
// adds at the model's hook sites; it knows sites by path and never which architecture they are in.

import type { z } from "zod";
import type { AdapterTensor, JsonObject, QuantizationOptions } from "../hub/index.ts";
import type {
  AuxiliaryLossOf,
  BlockPaths,
  Classifier,
  Dimensions,
  UsualTargets,
  WeightSpec,
} from "../models/index.ts";
import type { DenseMatrix, MatrixProducts } from "../runtime/linear-algebra/dense-matrix.ts";
import type { Random } from "../runtime/random.ts";
import type { Shape, Tensor } from "../tensor/index.ts";
import type { IdleOption, OptionsPart } from "./idle-options.ts";

/** The base's tokens, for first values that are made of them. */
export interface Vocabulary {
  /** Ids of a text, with the special tokens that the tokenizer adds to one. */
  ids(text: string): Promise<readonly number[]>;
  /** The embeddings of tokens, float32 [ids.length, hidden]. */
  embeddings(ids: readonly number[]): Promise<Float32Array>;
}

/** A tensor that a method brings: trained, or part of what it computes with. */
export interface ParameterSpec {
  /** Its key in the file that the reference library reads. */
  readonly key: string;
  readonly shape: Shape;
  /** Saved with the rest but never updated, as VeRA's shared matrices. */
  readonly frozen?: true;
  /** What a schedule remembers: neither trained nor part of the adapter, but of checkpoints. */
  readonly state?: true;
  /** A frozen one that follows from the base: made anew by `initial` and kept in no file. */
  readonly derived?: true;
  /** Factor on the learning rate, as LoRA+ has for B. Default 1. */
  readonly learningRateFactor?: number;
  /**
   * Its first value. `random` is the run's; `base` reads a weight as float32, as it is computed with,
   * `published` as the checkpoint has it, which differs where the base is quantised on the way in.
   */
  initial(
    random: Random,
    base: (name: string) => Promise<Float32Array>,
    vocabulary: Vocabulary,
    published: (name: string) => Promise<Float32Array>,
  ): Promise<Float32Array>;
}

/**
 * What a hook may use while a block is traced. Rows of activations are [batch · sequence, width], but
 * in the last feed-forward, which runs on the rows alone that the loss reads unless the method
 * `readsWholeRows`.
 */
export interface MethodScope {
  readonly batch: number;
  /** Positions of a row, virtual tokens included. */
  readonly sequence: number;
  /** Whether dropout is on. */
  readonly training: boolean;
  parameter(spec: ParameterSpec): Tensor;
  /** A weight of the checkpoint by its name (the trained one, where the method replaces it). */
  weight(name: string): Tensor;
  /** Zeroes elements with the given probability and scales the rest; the identity in evaluation. */
  dropout(x: Tensor, probability: number, site: string): Tensor;
  /** Token ids, int64 [batch, sequence]; for the `embed` hook. */
  tokenIds(): Tensor;
  /**
   * The mean over each row's positions, [batch, 1, width] of [batch · sequence, width], for methods
   * with `mixesPositions`. Padding counts, but not where texts are continued.
   */
  rowMean(x: Tensor): Tensor;
  /** [batch · sequence, 1]: 1 where there is a token, 0 at padding; for the `statistic` of whole rows. */
  realPositions(): Tensor;
  /**
   * The normed last states of the first pass, [batch · sequence, hidden], for methods that
   * `readsFirstPass`; undefined while that pass itself is traced. No gradient reaches them.
   */
  firstStates(): Tensor | undefined;
  /** Hands numbers of a forward pass to `auxiliaryLoss`, under a name of its own. */
  statistic(name: string, value: Tensor): void;
}

/** A term of a loss, which is of one trained tensor alone. */
export interface TensorLoss {
  readonly spec: ParameterSpec;
  /** One number, of the tensor. */
  readonly loss: (tensor: Tensor) => Tensor;
}

/** What attention is given in front of the sequence's own keys and values. */
export interface PrefixStates {
  /** [1 or batch, kv heads, prefix length, head size]; keys are used as they are, not rotated. */
  readonly keys: Tensor;
  readonly values: Tensor;
}

/** The model as a method sees it. */
export interface ModelDescription {
  readonly modelType: string;
  readonly dimensions: Dimensions;
  readonly weights: readonly WeightSpec[];
  /** Of each layer. */
  readonly blocks: readonly BlockPaths[];
  /** The module that makes logits, and the weight it reads (the embedding's where they are tied). */
  readonly outputPath: string;
  readonly outputName: string;
  /** What a method adapts where its options leave that open. */
  readonly usualTargets: UsualTargets;
  /** Of a model that looks at images, the weights of their encoder. */
  readonly imageWeights?: readonly WeightSpec[];
  /** Of a model that says something of whole texts: its output module is the head, trained whole. */
  readonly classifier?: Classifier;
  /** Where the base came from, as adapter files name it. */
  readonly source: string;
}

/** The numbers of a parameter. */
export type ParameterValues = (spec: ParameterSpec) => Float32Array;

/** Tensors of a file, by key. */
export type AdapterTensors = ReadonlyMap<string, AdapterTensor>;

/** An adapter file. */
export interface SavedAdapter {
  /** A function where training decides about it. */
  readonly config: JsonObject | ((values: ParameterValues) => JsonObject);
  /** Its tensors by key, where they are not the parameters themselves. */
  readonly tensors?: (values: ParameterValues, initial: ParameterValues) => AdapterTensors;
  /** The same, where the parameters' graph is the shortest way to say them. */
  readonly computed?: (scope: MethodScope) => ReadonlyMap<string, Tensor>;
  /**
   * What the tensors are computed from, where they alone do not suffice to train on: a file of its own
   * beside them (`prompt_encoder.safetensors`).
   */
  readonly encoder?: (values: ParameterValues) => AdapterTensors;
  /** The other way round: tensors of a file, and of its encoder, as those of the parameters. */
  readonly read?: (tensors: AdapterTensors, encoder: AdapterTensors | undefined) => AdapterTensors;
}

/** A plan by which a method changes its own tensors while they are trained, such as pruning ranks. */
export interface MethodSchedule {
  /**
   * Before anything is loaded.
   * @param totalSteps optimizer steps of the whole run, where the caller knows
   * @throws TunesmithError (config) where the plan does not fit so many steps
   */
  check(totalSteps: number | undefined): void;
  /** Before a run's first step, and again where a run is resumed. @throws as `check` */
  begin(totalSteps: number | undefined, values: ParameterValues): void;
  /**
   * After the update of step `step`, counted from 0, which was made from these gradients.
   * @param gradientScale what clipping multiplied them with
   */
  afterStep(
    step: number,
    values: ParameterValues,
    gradients: ParameterValues,
    gradientScale: number,
  ): void;
}

/** A number of a method's options that has to fit a matrix: a rank, a group's width, a reduction. */
export interface RankUse {
  readonly kind: "rank" | "group" | "reduction";
  /** The option that says it: its dotted path within the method's options. */
  readonly option: string;
  readonly rank: number;
  /** The module that the matrix belongs to, and the matrix's shape, mostly [out, in]. */
  readonly path: string;
  readonly shape: readonly number[];
  readonly largest: number;
  /** Whether modules may have other ranks, by `rankPattern`. */
  readonly hasPattern?: boolean;
}

/** A method bound to a model. */
export interface BoundMethod {
  readonly name: string;
  readonly parameters: readonly ParameterSpec[];
  /** Paths of the modules that hooks change. */
  readonly adapted?: readonly string[];
  /** The ranks that its options give to matrices. A new adapter's have to fit; a file's may be any. */
  readonly ranks?: readonly RankUse[];
  /** Modules of which rows of single tokens are trained: the tokens, by the module's path. */
  readonly tokenRows?: ReadonlyMap<string, readonly number[]>;
  /** Weights that are trained themselves: `<path>.weight` or `.bias` of the module that uses them. */
  readonly replaces: ReadonlyMap<string, ParameterSpec>;
  /**
   * Around a linear module: from its input to the new output. `base` is the module as it was, bias
   * included; it may be given another input, or none at all and the weight be used instead.
   */
  readonly linear?: (
    path: string,
    x: Tensor,
    base: (x: Tensor) => Tensor,
    scope: MethodScope,
  ) => Tensor;
  /**
   * Around a module whose inside is not one product, such as `model.layers.0.mlp`. `run` is the module
   * with its linear modules hooked as ever; running it twice on one input shares the frozen products.
   */
  readonly module?: (
    path: string,
    x: Tensor,
    run: (x: Tensor) => Tensor,
    scope: MethodScope,
  ) => Tensor;
  /**
   * Where a module's output joins the residual stream `x`: x + output if there is no hook. `path` is
   * the module's, such as `model.layers.0.self_attn` or `model.layers.0.mlp`.
   */
  readonly residual?: (path: string, x: Tensor, output: Tensor, scope: MethodScope) => Tensor;
  /** On embedded tokens [batch · sequence, hidden], virtual ones included. */
  readonly embed?: (x: Tensor, scope: MethodScope) => Tensor;
  /** On what the first block is given: the same with the positions that some models add. */
  readonly enter?: (x: Tensor, scope: MethodScope) => Tensor;
  /** States [count, hidden] put in front of every row; packed samples all see them. */
  readonly virtualTokens?: {
    readonly count: number;
    readonly states: (scope: MethodScope) => Tensor;
  };
  /**
   * In front of a module's keys and values, seen by every position. `input` is what its queries, keys
   * and values are made from.
   */
  readonly prefix?: (path: string, input: Tensor, scope: MethodScope) => PrefixStates | undefined;
  /** Added to all positions of the sequence, as for keys that stand before it. Default 0. */
  readonly positionOffset?: number;
  /** On the normed states in front of the output matrix. */
  readonly output?: (x: Tensor, scope: MethodScope) => Tensor;
  /** Whether hooks look at whole rows, so that no position may be left out of any module. */
  readonly readsWholeRows?: true;
  /**
   * Whether what is computed at a position depends on later ones and on padding. Such a method
   * `readsWholeRows`, cannot train on packed rows, and continues a text by reading all of it again.
   */
  readonly mixesPositions?: true;
  /**
   * Whether every batch goes through the model twice: first without dropout and gradients, then with
   * hooks that may look at the first pass's last states. Such a method `readsWholeRows`.
   */
  readonly readsFirstPass?: true;
  /** The loss of what the hooks reported; its mean over micro-batches counts. */
  readonly auxiliaryLoss?: AuxiliaryLossOf;
  /** The terms of a loss of the method's tensors alone, which is the same whatever a batch has run. */
  readonly tensorLosses?: readonly TensorLoss[];
  /** What it does of its own between steps; what it remembers is in parameters marked `state`. */
  readonly schedule?: MethodSchedule;
  /** Why what it adds cannot become part of the weights; `mergeInto` is left out then. */
  readonly unmergeable?: string;
  /**
   * Merging: adds what the method does to a weight's data; most weights are left as they are. `weight`
   * is `<path>.weight` or `.bias` of the module that uses it.
   */
  readonly mergeInto?: (weight: string, data: Float32Array, values: ParameterValues) => void;
  /**
   * The weights that a method changes already by the first values of these parameters. So much is
   * taken away from them before anything else, and the model starts out as the base.
   */
  readonly takenFromBase?: ReadonlyMap<string, readonly ParameterSpec[]>;
  /** Adds what is taken from a weight to zeros of its shape. */
  readonly addTakenPart?: (weight: string, data: Float32Array, values: ParameterValues) => void;
  /** Weights of the checkpoint of which first values are made that quantising takes away. */
  readonly startsFromRounding?: readonly string[];
  /**
   * Reads what first values are taken from in the files of other adapters.
   * @throws TunesmithError (checkpoint) for files that are damaged or do not fit the model
   */
  readonly checkFiles?: () => Promise<void>;
  /** How results are saved: a PEFT adapter, or a whole checkpoint. */
  readonly saved: SavedAdapter | "checkpoint";
}

/** A look at what a frozen model's modules read, batch by batch, before a method is bound for good. */
export interface DataProbe {
  /** Paths of the modules whose inputs it is to see. */
  readonly modules: ReadonlySet<string>;
  /** Whether positions without a label are left out; padding always is. */
  readonly onlyLabelled: boolean;
  /**
   * One batch's input of the modules `paths`, which have the same: [positions that count, in].
   */
  see(paths: readonly string[], input: DenseMatrix): Promise<void>;
  /**
   * After each batch: how many of the modules have shown enough. The next batch is not needed when
   * all have.
   * @throws TunesmithError (config) where they do not come to that
   */
  settle(): { readonly settled: number; readonly modules: number };
  /** After each pass over the data. @throws TunesmithError (data) where it was of no use */
  endPass(): void;
  decide(): Decision;
}

/** What data decided about a method. */
export interface Decision {
  /** In place of the options asked for. */
  readonly options: object;
  /** First values by key; the rest start as declared. */
  readonly values: ReadonlyMap<string, Float32Array>;
}

/** Adapters of AdapterHub's library that a method stands for. */
export interface AdapterHubKind {
  /** Values of the configuration's `architecture`. */
  readonly architectures: readonly unknown[];
  /**
   * @param config the adapter's own, inside the file's `envelope`
   * @throws TunesmithError (checkpoint) for settings whose math is not implemented
   */
  readonly options: (
    config: JsonObject,
    envelope: JsonObject,
    where: string,
  ) => { readonly name: string };
}

/** A method as the registry lists it. */
export interface MethodDefinition<Options extends { readonly name: string }> {
  /** Its section of the recipe: names, defaults and what each key means. */
  readonly schema: z.ZodObject<{ name: z.ZodLiteral<Options["name"]> }>;
  /** The usual peak learning rate; a function where it depends on the options. */
  readonly learningRate: number | ((options: Options) => number);
  /** How the frozen weights under it are kept, where nobody says otherwise. */
  readonly quantization?: Required<QuantizationOptions>;
  /** One line for model cards and plans. */
  readonly describe: (options: Options) => string;
  /** Options that others leave without effect. */
  readonly idle?: readonly IdleOption<Options>[];
  /** Options within the options that have such of their own. */
  readonly parts?: (options: Options) => readonly OptionsPart[];
  /** @throws TunesmithError (config) where the options do not fit the model */
  readonly bind: (options: Options, model: ModelDescription) => BoundMethod;
  /** For options that data decide about: tensors that follow from it as well as their values. */
  readonly fromData?: {
    /**
     * Undefined for options that need no data.
     * @param products the fastest there are
     * @throws TunesmithError (config) where the options do not fit the model
     */
    readonly probe: (
      options: Options,
      model: ModelDescription,
      products: (matrix: DenseMatrix) => MatrixProducts,
    ) => DataProbe | undefined;
    /** The options that were decided, from the configuration of an adapter saved since. */
    readonly decided: (config: JsonObject, folder: string) => object;
  };
  readonly adapterHub?: AdapterHubKind;
  /**
   * The options of adapters that were saved together, by AdapterHub's library.
   * @throws TunesmithError (checkpoint) for settings whose math is not implemented
   */
  readonly adapterSetup?: (setup: JsonObject, folder: string) => { readonly name: string };
  /**
   * The adapters of PEFT that are its own, by their `peft_type`, and how their options are read: its
   * own, or another method's where the file is one of that.
   */
  readonly peft?: {
    readonly type: string;
    /**
     * `hasEncoder`: whether the file of `SavedAdapter.encoder` is there; PEFT writes none.
     * @throws TunesmithError (checkpoint) for settings whose math is not implemented
     */
    readonly options: (
      config: JsonObject,
      folder: string,
      hasEncoder: boolean,
    ) => { readonly name: string };
  };
  /**
   * Libraries other than PEFT whose files it writes and reads, by the `peft_type` in them: some that
   * build on PEFT have types of their own.
   */
  readonly libraries?: Readonly<Record<string, string>>;
}
