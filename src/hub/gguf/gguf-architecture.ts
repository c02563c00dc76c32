// What an architecture is in a GGUF file and in a model folder: one row of a table, which is read from left to
// right and from right to left. Names of ggml's side: llama.cpp's `gguf-py/gguf/constants.py`.

import type { TunesmithError } from "../../errors.ts";
import type { JsonObject } from "../json-file.ts";
import type { GgufFile } from "./gguf.ts";
import type { RowOrder } from "./gguf-row-order.ts";
import type { GgufEntry } from "./gguf-writer.ts";

export type Entries = readonly (readonly [key: string, value: GgufEntry])[];

/** What both sides say of a model, each by names of its own. */
export interface Sizes {
  readonly layers: number;
  readonly positions: number;
  readonly hidden: number;
  readonly inner: number;
  readonly heads: number;
  readonly keyValueHeads: number;
  readonly headSize: number;
  readonly epsilon: number;
  readonly vocabulary: number;
}

/** Keys of `config.json`; one without a key follows from the others. */
export type SizeKeys = Readonly<
  Record<Exclude<keyof Sizes, "keyValueHeads" | "headSize">, string> &
    Partial<Record<"keyValueHeads" | "headSize", string>>
>;

/** A number or a flag that both sides have under a name of their own. */
export interface FurtherKey {
  /** Behind the architecture's name. */
  readonly key: string;
  /** Of `config.json`; of several the first is written. */
  readonly config: readonly string[];
  readonly as: "uint32" | "float32" | "bool";
  /** What a file without the key means; undefined where it has to be there. */
  readonly absent?: number | boolean | null;
}

export interface RopeNames {
  /** Keys of `config.json` for the base and for the share of a head that is rotated, if that may be a part. */
  readonly theta: string;
  readonly share?: string;
  /** Where `rope_parameters` has several sections: the one that `rope.freq_base` is of. */
  readonly section?: string;
  /** Kinds of scaling that llama.cpp computes as Transformers does. */
  readonly scalings: readonly string[];
  /** What the config says in other words; `rope_parameters` of it. */
  readonly parameters?: (config: JsonObject) => JsonObject;
  /** The way back of `parameters`. */
  readonly config?: (parameters: JsonObject) => JsonObject;
}

/** What a GGUF file says, as rows of the table ask for it. */
export interface GgufFacts extends Pick<GgufFile, "metadata" | "tensors"> {
  /** By the key behind the architecture's name. @throws TunesmithError (checkpoint) for what is not a number */
  optional(name: string): number | undefined;
  /** @throws TunesmithError (checkpoint) for what is not a whole number above 0 */
  dimension(name: string): number;
  fault(rule: string, seen: string, fix?: string): TunesmithError;
}

/** Names in a model folder by those in the file. */
export type Names = Readonly<Record<string, string>>;

export interface GgufArchitecture {
  /** `general.architecture`, which keys of the metadata begin with. */
  readonly name: string;
  /** In `config.json`. */
  readonly modelType: string;
  readonly className: string;
  /** Which files of that name are read as this one, where several share it. Default: all. */
  readonly isOf?: (file: Pick<GgufFile, "metadata" | "tensors">) => boolean;
  /** Which configs of that `model_type` are written so, where several rows have it. Default: all. */
  readonly isFor?: (config: JsonObject) => boolean;
  /** Outside of the blocks. */
  readonly modelNames: Names;
  /** In front of a block's number. */
  readonly blocks: string;
  /** Within a block; `#` for the number of an expert. */
  readonly blockNames: Names;
  /** Those with a bias beside the weight, by their names in the file. */
  readonly biases: readonly string[];
  /** Matrices of one row that the file has as a vector. */
  readonly flat?: readonly string[];
  /** Where the file has rows in another order, by the tensor's name in it without the block. */
  readonly rows?: (part: string, sizes: Sizes, config: JsonObject) => RowOrder | undefined;
  /** What the file has added to the weights of norms. Default 0. */
  readonly normOffset?: number;
  /** Whether llama.cpp looks for an output matrix where the embedding is one. */
  readonly needsOutput?: boolean;
  readonly keys: SizeKeys;
  readonly norm: "rms" | "layer";
  /** Absent: positions are learned. */
  readonly rope?: RopeNames;
  /** What Transformers takes for keys that config.json leaves out. */
  readonly defaults: JsonObject;
  /** Values that llama.cpp computes with and has no keys for; the first is read from a file. */
  readonly fixed: Readonly<Record<string, readonly unknown[]>>;
  /** Whether llama.cpp takes a head's size for the hidden size shared among the heads. */
  readonly headsFillHidden?: boolean;
  /** Whether llama.cpp looks back over a window where the model does. */
  readonly hasWindows?: boolean;
  readonly further?: readonly FurtherKey[];
  /** What needs more than a name for a name. */
  readonly own?: {
    /** Sizes that do not follow from keys alone. */
    sizes?(config: JsonObject, sizes: Sizes): Partial<Sizes>;
    /** @param refuse notes a key with the rule that it breaks */
    entries?(
      config: JsonObject,
      sizes: Sizes,
      refuse: (key: string, rule: string) => void,
    ): Entries;
    config?(facts: GgufFacts, sizes: Sizes): JsonObject;
  };
}

/** What a config says, or what Transformers takes for it. */
export const settingOf = (
  config: JsonObject,
  key: string,
  { defaults }: Pick<GgufArchitecture, "defaults">,
) => config[key] ?? defaults[key];
