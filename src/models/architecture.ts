// What a model file provides: its config, its weights, and one block as a pure function. Everything
// around it (which weights train, what a method adds, how blocks are run) is decided by the caller
// through the `Scope` that the function is traced in.

import type { Shape, Tensor } from "../tensor/index.ts";

/** The sizes that blocks have, whatever a file calls them. */
export interface BlockDimensions {
  readonly layers: number;
  readonly hiddenSize: number;
  readonly heads: number;
  readonly keyValueHeads: number;
  readonly headSize: number;
  /**
   * Whether positions may see each other whichever comes first: those of a context that a batch marks
   * (GLM-130B), or all of them (an encoder's).
   */
  readonly seesContext?: true;
  /** Elements of each head that are rotated, the first ones; all by default, 0 for none. */
  readonly rotarySize?: number;
}

/** The sizes that every decoder has. */
export interface Dimensions extends BlockDimensions {
  readonly vocabularySize: number;
  /** The longest sequence the model was made for. */
  readonly maximumPositions: number;
  /** How many positions one sees where attention is local, itself included. */
  readonly slidingWindow?: number;
  /** For models that fill blanks: a text before its answer is a context that sees all of itself. */
  readonly blanks?: BlankTokens;
  /** Texts of more positions have other rotary tables, at every position (LongRoPE). Default: none have. */
  readonly rotarySwitch?: number;
  /** Factor on the rows of the embedding, which is part of that module. Default 1. */
  readonly embeddingScale?: number;
}

/** The token ids of a model that was trained by filling blanks (GLM-130B). */
export interface BlankTokens {
  /** A short blank within the context; what fills it has its position. */
  readonly mask: number;
  /** A long one at the context's end, behind which positions go on. */
  readonly generationMask: number;
  /** In front of what fills a blank; all before the first one is the context. */
  readonly start: number;
  /** Behind what fills a blank. */
  readonly end: number;
}

/** Columns of the rotary tables: half as many as elements of a head are rotated. */
export const rotaryPairs = ({ headSize, rotarySize = headSize }: BlockDimensions): number =>
  rotarySize / 2;

/** How far attention looks back: to the first position, or as far as the sliding window. */
export type Reach = "global" | "local";

export interface WeightSpec {
  /** The tensor's name in the checkpoint, which is its path in Transformers' model. */
  readonly name: string;
  readonly shape: Shape;
  /**
   * `linear`: a matrix [out, in] that methods may adapt; `output`: the one in front of the logits;
   * `router`: a matrix [experts, in], which methods adapt only where they are told to, as in PEFT;
   * `positions`: a table with a row for every position; `patches`: what embeds patches of images, a
   * convolution and a table of their positions.
   */
  readonly role:
    | "embedding"
    | "positions"
    | "patches"
    | "linear"
    | "output"
    | "router"
    | "norm"
    | "bias";
  /** Whether files hold a matrix the other way round, [in, out] (the Conv1D of GPT-2). */
  readonly isTransposed?: true;
  /** The share of rows that go through it, where not all do. */
  readonly share?: number;
}

/** The paths of a decoder block and of its two halves, as `Scope.residual` names them. */
export interface BlockPaths {
  readonly block: string;
  readonly attention: string;
  readonly feedForward: string;
  /** Where rows are sent to experts: the router's path, and the one that experts' paths start with. */
  readonly router?: string;
  readonly experts?: string;
}

export interface AttentionInputs {
  /** The attention module, such as `model.layers.0.self_attn`. */
  readonly path: string;
  /** What queries, keys and values were made from. */
  readonly input: Tensor;
  /** [batch · seq, heads · headSize], rotated. */
  readonly queries: Tensor;
  /** [batch · seq, keyValueHeads · headSize], rotated. */
  readonly keys: Tensor;
  readonly values: Tensor;
  /** Factor on the scores. */
  readonly scale: number;
  /** Scores are bent to lie below this, as cap · tanh(score / cap) (Gemma 2). Default: they are not. */
  readonly scoreCap?: number;
  /** Default "global". */
  readonly reach?: Reach;
}

/** What a block may use while it is traced. Rows of activations are [batch · seq, width]. */
export interface Scope {
  /** A weight by its checkpoint name. */
  weight(name: string): Tensor;
  /** The linear module at a path, bias included where it has one, with whatever a method adds. */
  linear(path: string, x: Tensor): Tensor;
  /**
   * A dense module whose inside is more than one product; `run` is that inside. A feed-forward with
   * experts has none: no one of its parts sees all rows.
   */
  module(path: string, x: Tensor, run: (x: Tensor) => Tensor): Tensor;
  /** The residual stream `x` with the output of the module at `path` added. */
  residual(path: string, x: Tensor, output: Tensor): Tensor;
  /** Rotary embedding of [batch · seq, heads · headSize], by the tables of `reach` ("global"). */
  rotate(x: Tensor, heads: number, reach?: Reach): Tensor;
  /** [batch · seq]: the position of every row, int64. */
  positions(): Tensor;
  /** Attention over the positions that each row may see; [batch · seq, heads · headSize]. */
  attend(inputs: AttentionInputs): Tensor;
  /** Whether a training step is traced. */
  readonly training: boolean;
  /** [batch · seq, 1]: 1 where there is a token, 0 at padding. */
  realPositions(): Tensor;
  /** Hands numbers of a forward pass to `auxiliaryLoss`, under a name of its own. */
  statistic(name: string, value: Tensor): void;
}

/** Where rows go. */
export interface Routed {
  /** What experts are given, [rows, hidden]. */
  readonly input: Tensor;
  /** The share of each expert in each row's output, [rows, experts]; 0 where it has none. */
  readonly weights: Tensor;
  /** What every row has beside its experts, [rows, hidden]. */
  readonly shared?: Tensor;
}

/** The pieces of a sparse feed-forward. */
export interface SparseFeedForward {
  /** How many experts there are. */
  readonly count: number;
  /** From the residual stream [rows, hidden] to where its rows go. */
  enter(x: Tensor, scope: Scope): Routed;
  /** One expert on rows of `Routed.input`, [rows, hidden]. */
  expert(index: number, input: Tensor, scope: Scope): Tensor;
  /** The residual stream with the sum of the experts' weighted outputs and of what is shared. */
  leave(x: Tensor, output: Tensor, scope: Scope): Tensor;
}

/** Cosines and sines [length, rotarySize / 2] of the rotary embedding. */
export interface RotaryTables {
  readonly cosines: Float32Array;
  readonly sines: Float32Array;
}

/** What stands behind the output matrix. */
export interface LogitShape {
  /** Logits are bent to lie below this, as cap · tanh(logit / cap) (Gemma 2). */
  readonly cap?: number;
}

/**
 * Endings of module paths that adapters choose where nobody says which: those that PEFT has for a
 * `model_type`.
 */
export interface UsualTargets {
  /** Products in attention that get something of low rank added. */
  readonly attention: readonly string[];
  /** Products whose output is scaled. */
  readonly scaledOutputs: readonly string[];
  /** Products whose input is. */
  readonly scaledInputs: readonly string[];
}

/** A loss beside the objective's, made of what was reported with `statistic`. */
export interface AuxiliaryLoss {
  readonly loss: number;
  /** With respect to each statistic, by name; what is left out has none. */
  readonly gradients: ReadonlyMap<string, Float32Array>;
}

export type AuxiliaryLossOf = (statistics: ReadonlyMap<string, Float32Array>) => AuxiliaryLoss;

/** Blocks one behind another and what stands before and behind them, with the config they were read with. */
export interface BlockStack {
  readonly dimensions: BlockDimensions;
  /** Every tensor that is read on the way. */
  readonly weights: readonly WeightSpec[];
  /** Of each layer. */
  readonly blocks: readonly BlockPaths[];
  /** The module that makes logits and the weight it reads, where there is one. */
  readonly outputPath?: string;
  readonly outputName?: string;
  /** See `Architecture`; what is absent there is so here. */
  readonly enter: ((x: Tensor, scope: Scope) => Tensor) | undefined;
  attention(layer: number, x: Tensor, scope: Scope): Tensor;
  readonly feedForward: ((layer: number, x: Tensor, scope: Scope) => Tensor) | undefined;
  sparse(layer: number): SparseFeedForward | undefined;
  finalNorm(x: Tensor, scope: Scope): Tensor;
  readonly rotatesNeighbours: boolean;
}

/** What makes rows of images, which stand in the place of a token's embedding. */
export interface ImageEncoder {
  /** The token, which a text has once for every row. */
  readonly token: number;
  /** Colours of a pixel. */
  readonly channels: number;
  /**
   * Its blocks, in which all patches of an image see each other. `enter` is given an image, [channels,
   * height, width]; `finalNorm` ends in rows as wide as the decoder's.
   */
  readonly stack: BlockStack;
  /**
   * Of an image's patches, line by line, the position that each has learned.
   * @throws TunesmithError (shape) for images that the encoder does not read
   */
  positions(height: number, width: number): readonly number[];
  /** How many rows an image of so many patches makes. */
  rowCount(patches: number): number;
}

export interface Architecture<Config> {
  /** The values of `model_type` in config.json that this file implements. */
  readonly modelTypes: readonly string[];
  /** The models that use it, for people. */
  readonly covers: string;
  /** @throws TunesmithError (checkpoint) for fields that are missing, wrong or change the math */
  readConfig(json: Readonly<Record<string, unknown>>): Config;
  dimensions(config: Config): Dimensions;
  /** Every tensor that the checkpoint must hold, embedding first. */
  weights(config: Config): WeightSpec[];
  blockPaths(config: Config, layer: number): BlockPaths;
  /** From embedded tokens [batch · seq, hidden] to what the first block is given; the same if absent. */
  enter?(config: Config, x: Tensor, scope: Scope): Tensor;
  /** First half of a decoder block, on [batch · seq, hidden]: positions exchange information. */
  attention(config: Config, layer: number, x: Tensor, scope: Scope): Tensor;
  /**
   * Second half, on [rows, hidden]: every row for itself, so that unneeded rows can be left out.
   * Absent where both halves read the block's input (parallel residuals): then all is in the first.
   */
  feedForward?(config: Config, layer: number, x: Tensor, scope: Scope): Tensor;
  /** Whether all of a block is in `attention` though there is a `feedForward`, which other configs have. */
  isParallel?(config: Config): boolean;
  /** The pieces of a layer's feed-forward, where it sends rows to experts. */
  sparse?(config: Config, layer: number): SparseFeedForward | undefined;
  /** Of a model that looks at images. */
  images?(config: Config): ImageEncoder;
  /** A loss of the architecture's own in training, where the config asks for one. */
  auxiliaryLoss?(config: Config): AuxiliaryLossOf | undefined;
  /** What stands between the last block and the output matrix. */
  finalNorm(config: Config, x: Tensor, scope: Scope): Tensor;
  readonly embeddingName: string;
  /** The module that makes logits, and the weight it reads: the embedding's where they are tied. */
  readonly outputPath: string;
  outputName(config: Config): string;
  /** A bias of the output module is found by its name. */
  logitShape?(config: Config): LogitShape;
  /** @param length positions wanted, which dynamic scaling depends on */
  rotaryTables(config: Config, length: number, reach: Reach): RotaryTables;
  /** Default `USUAL_TARGETS` of the registry, in part or as a whole. */
  readonly usualTargets?: Partial<UsualTargets>;
  /** Whether rotated pairs are neighbours (GLM), not elements of both halves. */
  readonly rotatesNeighbours?: true;
  /**
   * What Transformers calls the base model, such as `model`: files of that alone hold names without it.
   * Default `model`.
   */
  readonly basePrefix?: string;
  /** Tensors that older files carry and that follow from the config. */
  readonly ignoredTensors?: RegExp;
}
