// What a set of adapters on one model offers, and how one or several of them are named.

import type { RankChoice } from "../../adapters/index.ts";
import type { Adapter, JsonObject } from "../../hub/index.ts";
import type { DecodableModel } from "../decoding/decoder-contract.ts";
import type { Model } from "../model.ts";

/** One for everything: an adapter's name, factors on several LoRAs, or null for the base alone. */
export type AdapterChoice = string | Readonly<Record<string, number>> | null;

/** What to compute with: one choice, or a LoRA's name (or null) for each row of a batch. */
export type AdapterSelection = AdapterChoice | readonly (string | null)[];

/** The model with a selection of adapters on it; shares weights and kernels with all others. */
export interface AdaptedModel extends DecodableModel, Pick<Model, "forward" | "evaluateLoss"> {
  readonly config: JsonObject;
  readonly generationConfig: JsonObject | undefined;
}

export interface AdapterSet {
  readonly names: readonly string[];
  /** What is part of the base's weights for now. */
  readonly merged: AdapterChoice;
  /**
   * Reads an adapter's folder.
   * @throws TunesmithError (checkpoint) for one that does not fit the model, (config) for a name that
   *   is taken and where a method is being trained
   */
  load(name: string, folder: string): Promise<void>;
  /** Forgets an adapter. @throws TunesmithError (config) for a name that there is none of */
  unload(name: string): void;
  /**
   * @param rows rows of the batch that it is for, which a selection by rows must agree with
   * @throws TunesmithError (config) for unknown names, (checkpoint) for adapters that cannot be mixed
   */
  select(selection: AdapterSelection, rows: number): Promise<AdaptedModel>;
  /** Whether rows with this choice can be in one batch with rows of other such choices. */
  mixes(choice: AdapterChoice): boolean;
  /**
   * An adapter of any method that changes linear weights as a LoRA.
   * @param choice its rank; without it, that of a LoRA that is one already
   * @throws TunesmithError (config) for methods that are something else, or need a rank; the signal's
   *   reason where it aborts
   */
  toLora(name: string, choice: RankChoice | undefined, signal?: AbortSignal): Promise<Adapter>;
  /**
   * Makes adapters part of the weights in memory; the numbers that were there are kept.
   * @throws TunesmithError (config) for what cannot be merged
   */
  merge(choice: AdapterChoice): Promise<void>;
  /** Puts the weights back, bit for bit. */
  unmerge(): void;
}
