// What an adapter's folder holds, in numbers: for people who want to know what they were given.

import {
  type Adapter,
  type AdapterTensor,
  adapterLibrary,
  expertKey,
  hasExperts,
  type JsonObject,
  namedBase,
} from "../hub/index.ts";
import { type MethodOptions, methodDefinition, methodOfAdapter } from "../methods/index.ts";
import { classifierOf } from "../models/index.ts";
import { normOf } from "./factors.ts";
import { type LoraModule, readPlainLora } from "./plain-lora.ts";
import { isOfTriplets, type KeptRanks, keptRanks, tripletModules } from "./triplets.ts";

/** Modules of one name in all layers, those of one expert of X-LoRA, or tensors of one kind. */
export interface AdapterPart {
  readonly name: string;
  /** How many there are. */
  readonly count: number;
  readonly parameters: number;
  /** Of modules that get a product of two matrices, each that occurs. */
  readonly ranks: readonly number[];
  readonly scalings: readonly number[];
  /**
   * Frobenius norms of what is added to a weight (LoRA's s · B A), or of the tensors themselves.
   */
  readonly meanNorm: number;
  readonly largestNorm: number;
}

export interface AdapterDescription {
  /** The library whose file it is: PEFT, AdapterHub, or one that builds on PEFT. */
  readonly library: string;
  /** The file's `peft_type`; AdapterHub's files have none. */
  readonly peftType: string | undefined;
  /** The method with its most telling options, in words. */
  readonly method: string;
  /** Its options as the recipe and `loadModel` have them. */
  readonly options: MethodOptions;
  /** The base model's name, as the file has it. */
  readonly base: string | undefined;
  /** Of a classifier's: what its head tells apart, where the folder names them. */
  readonly labels?: readonly string[];
  readonly tensors: number;
  readonly parameters: number;
  /** In float32. */
  readonly bytes: number;
  /** Of an AdaLoRA's. */
  readonly ranks?: KeptRanks;
  readonly parts: readonly AdapterPart[];
}

/** @throws TunesmithError (checkpoint) for a method or settings that are not implemented */
export function describeAdapter(adapter: Adapter, folder: string): AdapterDescription {
  const { config, tensors } = adapter;
  const options = methodOfAdapter(adapter, folder);
  const parameters = [...tensors.values()].reduce((sum, { data }) => sum + data.length, 0);
  const { describe, libraries } = methodDefinition(options.name);
  const peftType = typeof config.peft_type === "string" ? config.peft_type : undefined;
  const builtOnPeft = peftType === undefined ? undefined : libraries?.[peftType];
  return {
    library: builtOnPeft ?? (adapterLibrary(config) === "peft" ? "PEFT" : "AdapterHub"),
    peftType,
    method: describe(options),
    options,
    base: namedBase(config),
    ...(adapter.labels && {
      labels: classifierOf(adapter.labels, `${folder}/labels.json`).labels,
    }),
    tensors: tensors.size,
    parameters,
    bytes: 4 * parameters,
    ...(options.name === "adalora" && {
      ranks: keptRanks(tripletModules(adapter, options), options),
    }),
    parts: partsOf(adapter, options, folder),
  };
}

interface Measured {
  readonly parameters: number;
  readonly norm: number;
  readonly rank?: number;
  readonly scaling?: number;
}

function partsOf(adapter: Adapter, options: MethodOptions, folder: string): AdapterPart[] {
  const groups = new Map<string, Measured[]>();
  const count = (name: string, measured: Measured) =>
    groups.set(name, [...(groups.get(name) ?? []), measured]);
  const { experts, own } = expertsApart(adapter);
  const { modules, rest } = productsOf(own, options, folder);
  // The numbers between the two matrices of a triplet, one for each rank.
  const between = options.name === "adalora" ? 1 : 0;
  for (const [path, module] of modules) {
    const { parameters, ...rest } = measured(module);
    count(lastName(path), { ...rest, parameters: parameters + between * module.rank });
  }
  for (const [number, expert] of experts.entries())
    for (const module of readPlainLora(expert, `${folder}: expert ${number}`).modules.values())
      count(`expert ${number}`, measured(module));
  for (const [key, { data }] of rest)
    count(kindOf(key), { parameters: data.length, norm: norm(data) });
  return [...groups].map(([name, all]) => ({
    name,
    count: all.length,
    parameters: all.reduce((sum, one) => sum + one.parameters, 0),
    ranks: distinct(all.map(({ rank }) => rank)),
    scalings: distinct(all.map(({ scaling }) => scaling)),
    meanNorm: all.reduce((sum, one) => sum + one.norm, 0) / all.length,
    largestNorm: Math.max(...all.map((one) => one.norm)),
  }));
}

const measured = (module: LoraModule): Measured => ({
  parameters: module.a.length + module.b.length,
  norm: normOf(module),
  rank: module.rank,
  scaling: module.scaling,
});

type Tensors = Map<string, AdapterTensor>;

interface Products {
  readonly modules: ReadonlyMap<string, LoraModule>;
  /** What else is there. */
  readonly rest: Tensors;
}

/** Matrices whose product says more than they do. */
function productsOf(adapter: Adapter, options: MethodOptions, folder: string): Products {
  const { config, tensors } = adapter;
  if (options.name === "adalora")
    return {
      modules: tripletModules(adapter, options),
      rest: new Map([...tensors].filter(([key]) => !isOfTriplets(key))),
    };
  const pairs: Tensors = new Map();
  const rest: Tensors = new Map();
  // Matrices that hold a part of the base say nothing about what is added to it.
  const isProduct = config.peft_type === "LORA" && !isPartOfBase(config.init_lora_weights);
  for (const [key, tensor] of tensors)
    (isProduct && /\.lora_[AB]\.weight$/.test(key) ? pairs : rest).set(key, tensor);
  const products = { ...adapter, tensors: pairs };
  return { modules: pairs.size > 0 ? readPlainLora(products, folder).modules : new Map(), rest };
}

/** The LoRAs of a mixture over adapters, and what is its own. */
function expertsApart(adapter: Adapter): { experts: Adapter[]; own: Adapter } {
  if (!hasExperts(adapter.config)) return { experts: [], own: adapter };
  const configs = adapter.config.experts as readonly JsonObject[];
  const own = new Map(adapter.tensors);
  const experts = configs.map((config, number): Adapter => {
    const prefix = expertKey(number, "");
    const tensors: Tensors = new Map();
    for (const [key, tensor] of adapter.tensors)
      if (key.startsWith(prefix) && own.delete(key)) tensors.set(key.slice(prefix.length), tensor);
    return { config, tensors };
  });
  return { experts, own: { ...adapter, tensors: own } };
}

const isPartOfBase = (init: unknown) => init === "pissa" || init === "olora";

const lastName = (path: string): string => path.split(".").at(-1)!;

/** `….q_proj.ia3_l` → `q_proj.ia3_l`; a bias has both names of its weight in front. */
const kindOf = (key: string): string =>
  key
    .replace(/^base_model\.model\./, "")
    .replace(/\.weight$/, "")
    .split(".")
    .filter((part) => !/^\d+$/.test(part))
    .slice(key.endsWith(".bias") ? -3 : -2)
    .join(".");

const norm = (data: Float32Array): number =>
  Math.sqrt(data.reduce((sum, value) => sum + value * value, 0));

const distinct = (values: readonly (number | undefined)[]): number[] =>
  [...new Set(values.filter((value) => value !== undefined))].sort((a, b) => a - b);
