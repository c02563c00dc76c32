// Adapters by name on a loaded model: which are there, which is in use, what is merged.

import type {
  AdapterChoice,
  AdapterSelection,
  AdapterSet,
} from "../engine/adapters/adapter-set.ts";

/** Adapters on a model that was loaded without one. Calls are carried out in turn with the model's. */
export interface LoadedAdapters {
  readonly names: readonly string[];
  /** What calls use that choose nothing themselves; null is the base alone. */
  readonly active: AdapterChoice;
  /** What is part of the base's weights for now. */
  readonly merged: AdapterChoice;
  /**
   * Reads an adapter's folder and gives it a name.
   * @throws TunesmithError (checkpoint) for one that does not fit the model, (config) for a name that
   *   is taken and for a model with a method of its own
   */
  load(name: string, folder: string): Promise<void>;
  /** Forgets an adapter; one that was active no longer is. */
  unload(name: string): Promise<void>;
  /**
   * Chooses what calls use from now on: a name, factors on several LoRAs, null for the base.
   * @throws TunesmithError (config) for names that there are none of
   */
  use(choice: AdapterChoice): Promise<void>;
  /**
   * Makes adapters part of the weights in memory, so that they cost nothing; the weights that change
   * are held twice until `unmerge`. Without a choice: the active ones.
   * @throws TunesmithError (config) for a method that is no change of weights
   */
  merge(choice?: AdapterChoice): Promise<void>;
  /** Puts the weights back, bit for bit. */
  unmerge(): Promise<void>;
}

/** What a call may say about adapters. */
export interface AdapterOptions {
  /**
   * A name, factors on several LoRAs as `{ poet: 0.7, lawyer: 0.3 }`, a LoRA's name or null for each row,
   * or null for the base. Default: what `adapters.use` chose.
   */
  readonly adapters?: AdapterSelection;
}

/** @param inTurn carries out one call at a time */
export function createLoadedAdapters(
  set: AdapterSet,
  inTurn: <T>(work: () => Promise<T>) => Promise<T>,
): LoadedAdapters {
  let active: AdapterChoice = null;
  const uses = (choice: AdapterChoice, name: string) =>
    choice === name || (typeof choice === "object" && choice !== null && name in choice);
  return {
    get names() {
      return set.names;
    },
    get active() {
      return active;
    },
    get merged() {
      return set.merged;
    },
    load: (name, folder) => inTurn(() => set.load(name, folder)),
    unload: (name) =>
      inTurn(async () => {
        set.unload(name);
        if (uses(active, name)) active = null;
      }),
    use: (choice) =>
      inTurn(async () => {
        await set.select(choice, 1);
        active = choice;
      }),
    merge: (choice) =>
      inTurn(async () => {
        await set.merge(choice ?? active);
        active = null;
      }),
    unmerge: () => inTurn(async () => set.unmerge()),
  };
}
