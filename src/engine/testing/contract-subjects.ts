// What the contract's checks are about: every method on every architecture, opened as its entry says.

import type { EngineModel, OpenOptions } from "../load.ts";
import { rows } from "./contract-batches.ts";
import { METHODS, type MethodEntry } from "./method-entries.ts";
import { openTiny, type TinyModel } from "./tiny-models.ts";

/** Tiny models of each architecture, by `model_type`. */
export const ARCHITECTURES: Readonly<Record<string, readonly TinyModel[]>> = {
  llama: ["base", "untied-head", "biases", "head-dim"],
};

/** For what does not depend on a model's details: the first of each architecture. */
export const FIRST_MODELS = Object.values(ARCHITECTURES).map(([first]) => first!);

/** Every entry on each of some models. */
export const pairsWith = (models: readonly TinyModel[], entries: readonly MethodEntry[]) =>
  models.flatMap((tiny) => entries.map((entry) => ({ tiny, method: entry.name, entry })));

export const ALL_ENTRIES: readonly MethodEntry[] = Object.values(METHODS).flat();

/** How a model with an entry's method is opened. */
export const openingOf = ({ options, quantization, data }: MethodEntry): OpenOptions => ({
  method: options,
  quantization,
  seed: 7,
  threads: 1,
  ...(data && { data: { batches: () => data } }),
});

/** A model with an entry's method, as it starts. */
export const openWith = (
  tiny: TinyModel,
  entry: MethodEntry,
  more: OpenOptions = {},
): Promise<EngineModel> => openTiny(tiny, { ...openingOf(entry), ...more });

/** Logits of the longer sample. */
export const logitsOf = async (model: EngineModel) =>
  (await model.forward({ inputIds: [rows[0]] })).logits.data;
