// What a tuning method provides. It declares which tensors it trains, how they start, and what it
// adds at the model's hook sites; it knows sites by path and never which architecture they are in.

import type { LoraConfig } from "../hub/index.ts";
import type { Dimensions, WeightSpec } from "../models/index.ts";
import type { Random } from "../runtime/random.ts";
import type { Shape, Tensor } from "../tensor/index.ts";

/** A tensor that is trained. */
export interface ParameterSpec {
  /** Its key in the file that the reference library reads. */
  readonly key: string;
  readonly shape: Shape;
  /** Its first value. `random` is the run's; `base` reads a weight of the checkpoint as float32. */
  initial(random: Random, base: (name: string) => Promise<Float32Array>): Promise<Float32Array>;
}

/** What a hook may use while a block is traced. */
export interface MethodScope {
  parameter(spec: ParameterSpec): Tensor;
  /** Zeroes elements with the given probability and scales the rest; the identity in evaluation. */
  dropout(x: Tensor, probability: number, site: string): Tensor;
}

/** The model as a method sees it. */
export interface ModelDescription {
  readonly modelType: string;
  readonly dimensions: Dimensions;
  readonly weights: readonly WeightSpec[];
  /** The module that makes logits, and the weight it reads (the embedding's where they are tied). */
  readonly outputPath: string;
  readonly outputName: string;
  /** Where the base came from, as adapter files name it. */
  readonly source: string;
}

/** The numbers of a parameter. */
export type ParameterValues = (spec: ParameterSpec) => Float32Array;

/** An adapter file. */
export interface SavedAdapter {
  readonly peftConfig: LoraConfig;
  /** Its tensors by key, where they are not the parameters themselves. */
  readonly tensors?: (
    values: ParameterValues,
    initial: ParameterValues,
  ) => ReadonlyMap<string, { readonly shape: Shape; readonly data: Float32Array }>;
}

/** A method bound to a model. */
export interface BoundMethod {
  readonly name: string;
  readonly parameters: readonly ParameterSpec[];
  /** Weights that are trained themselves: `<path>.weight` or `.bias` of the module that uses them. */
  readonly replaces: ReadonlyMap<string, ParameterSpec>;
  /** Around a linear module: from its input and its output (bias included) to the new output. */
  readonly linear?: (path: string, x: Tensor, output: Tensor, scope: MethodScope) => Tensor;
  /** Merging: adds what the method does to a weight's data; most weights are left as they are. */
  readonly mergeInto?: (weight: string, data: Float32Array, values: ParameterValues) => void;
  /**
   * The weights that `mergeInto` changes already by the first values of these parameters. So much is
   * taken away from them before anything else, and the model starts out as the base.
   */
  readonly takenFromBase?: ReadonlyMap<string, readonly ParameterSpec[]>;
  /** How results are saved: a PEFT adapter, or a whole checkpoint. */
  readonly saved: SavedAdapter | "checkpoint";
}
