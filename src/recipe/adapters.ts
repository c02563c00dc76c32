// Trained adapters as things of their own: looked at, merged with one another, converted.

import { stat } from "node:fs/promises";
import {
  type AdapterDescription,
  atRank,
  describeAdapter,
  ggufAdapter,
  type MergeSettings,
  mergeAdapters as mergeLoras,
  type RankChoice,
  readPlainLora,
} from "../adapters/index.ts";
import { openModel } from "../engine/load.ts";
import { classifierOfAdapter } from "../engine/weights/new-head.ts";
import { TunesmithError } from "../errors.ts";
import {
  type Adapter,
  type JsonObject,
  openCheckpoint,
  readAdapter,
  writeAdapter,
  writeGguf,
} from "../hub/index.ts";
import type { Attention } from "./attention.ts";
import { fillEmpty, requireAbsent, requireEmpty } from "./empty-folder.ts";
import { fetchModel } from "./prepare.ts";

/**
 * What an adapter's folder holds: method, modules, ranks, sizes, norms.
 * @throws TunesmithError (checkpoint) for a folder that is no adapter, or one of an unknown method
 */
export async function describeAdapterFolder(folder: string): Promise<AdapterDescription> {
  return describeAdapter(await readAdapter(folder), folder);
}

export interface MergeAdaptersOptions extends MergeSettings {
  /** Folders of LoRA adapters of one base model. */
  readonly adapters: readonly string[];
  /** The folder to write; it must be empty or absent. */
  readonly out: string;
}

/**
 * Makes one LoRA adapter of several.
 * @throws TunesmithError for settings out of range, adapters that do not fit each other, and where
 *   `out` holds something
 */
export async function mergeAdapters(options: MergeAdaptersOptions): Promise<void> {
  const { adapters, out, ...settings } = options;
  await requireEmpty(out, "a merged adapter");
  const loras = [];
  for (const folder of adapters) loras.push(readPlainLora(await readAdapter(folder), folder));
  const merged = await mergeLoras(loras, settings);
  await fillEmpty(out, "a merged adapter", () => writeAdapter(out, merged));
}

export interface ConvertAdapterOptions extends Attention {
  /** The adapter's folder. */
  readonly adapter: string;
  /** "lora": a folder that PEFT reads; "gguf": a file that llama.cpp reads. */
  readonly to: "lora" | "gguf";
  /** The folder, or the file, to write. */
  readonly out: string;
  /** The model that the adapter was trained on. Default: the one that it names, where that is here. */
  readonly model?: string;
  /** Rank of the LoRA. */
  readonly rank?: number;
  /** Instead: the smallest rank a module that keeps this share of its squared singular values. */
  readonly energy?: number;
}

/**
 * Writes an adapter in another form.
 * @throws TunesmithError for a method that has no such form, and where the model is needed and missing
 */
export async function convertAdapter(options: ConvertAdapterOptions): Promise<void> {
  const { adapter: folder, out } = options;
  const choice = rankChoice(options);
  const adapter = await readAdapter(folder);
  if (options.to === "lora") {
    await requireEmpty(out, "a converted adapter");
    const lora = await toLora(adapter, choice, options);
    return fillEmpty(out, "a converted adapter", () => writeAdapter(out, lora));
  }
  await requireAbsent(out, "a converted adapter");
  const lora = readPlainLora(adapter, folder);
  return writeGguf(out, ggufAdapter(lora, await baseConfig(adapter, options)));
}

function rankChoice({ to, rank, energy }: ConvertAdapterOptions): RankChoice | undefined {
  const fault = (where: string, rule: string, seen: string, fix: string) =>
    new TunesmithError("config", { where: `converting: ${where}`, rule, seen, fix });
  if (rank !== undefined && energy !== undefined)
    throw fault("rank", "is given, or energy, not both", "both", "leave one of them out");
  if ((rank ?? energy) !== undefined && to === "gguf")
    throw fault("rank", "belongs to --to lora", "a conversion to gguf", "convert to lora first");
  if (rank !== undefined && !(Number.isInteger(rank) && rank > 0))
    throw fault("rank", "is a whole number above 0", String(rank), "use 8");
  if (energy !== undefined && !(energy > 0 && energy <= 1))
    throw fault("energy", "is above 0 and at most 1", String(energy), "use 0.9");
  if (rank !== undefined) return { rank };
  return energy === undefined ? undefined : { energy };
}

async function toLora(
  adapter: Adapter,
  choice: RankChoice | undefined,
  options: ConvertAdapterOptions,
): Promise<Adapter> {
  const { signal } = options;
  const lora = await atRank(adapter, options.adapter, choice, signal);
  if (lora) return lora;
  const classifier = classifierOfAdapter(adapter, options.adapter);
  const base = await fetchModel(await baseModel(adapter, options), options);
  const model = await openModel(base, { signal, ...(classifier && { classifier }) });
  try {
    await model.adapters.load("converted", options.adapter);
    return await model.adapters.toLora("converted", choice, signal);
  } finally {
    await model.dispose();
  }
}

async function baseConfig(adapter: Adapter, options: ConvertAdapterOptions): Promise<JsonObject> {
  const checkpoint = await openCheckpoint(
    await fetchModel(await baseModel(adapter, options), options),
  );
  await checkpoint.close();
  return checkpoint.config;
}

/** The base as the caller names it, else as the adapter does, if that is on this disk. */
async function baseModel({ config }: Adapter, options: ConvertAdapterOptions): Promise<string> {
  const named = config.base_model_name_or_path;
  if (options.model !== undefined) return options.model;
  if (typeof named === "string" && (await isThere(named))) return named;
  throw new TunesmithError("config", {
    where: "converting: model",
    rule: "this conversion needs the model that the adapter was trained on",
    seen: typeof named === "string" ? `${JSON.stringify(named)}, which is not here` : "none named",
    fix: `name it: --model ${typeof named === "string" ? named : "MODEL"}`,
  });
}

const isThere = (path: string): Promise<boolean> =>
  stat(path).then(
    () => true,
    () => false,
  );
