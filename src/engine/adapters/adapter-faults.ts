// What can be wrong with a choice of adapters, in words.

import { nearest, TunesmithError } from "../../errors.ts";

/** A name that nothing was loaded under. */
export function noSuchAdapter(name: string, names: readonly string[]): TunesmithError {
  const guess = nearest(name, names);
  const there = names.length === 0 ? "is none" : `are ${names.join(", ")}`;
  return new TunesmithError("config", {
    where: "adapters",
    rule: "an adapter that is used was loaded before",
    seen: `${JSON.stringify(name)}, where there ${there}`,
    fix: guess ? `nearest is ${JSON.stringify(guess)}` : `load it: adapters.load("${name}", DIR)`,
  });
}

/** Adapters by name on a model that has a method. */
export const trainedHere = (method: string) =>
  new TunesmithError("config", {
    where: "adapters",
    rule: "adapters are loaded by name on a model that has no other method",
    seen: `a model with ${method}`,
    fix: "load the model without adapter, method and trainable: loadModel(MODEL)",
  });

/** A second adapter of one name. */
export const nameTaken = (name: string, folder: string) =>
  new TunesmithError("config", {
    where: "adapters",
    rule: "every adapter has a name of its own",
    seen: `${JSON.stringify(name)}, which is ${folder}`,
    fix: `unload it first, or give another name`,
  });

/** An adapter for more tokens than the loaded model has rows for. */
export const moreTokens = (folder: string, own: number, rows: number) =>
  new TunesmithError("checkpoint", {
    where: `adapters: ${folder}`,
    rule: "adapters beside each other share the model's embedding, which has one row a token",
    seen: `an adapter for ${own} tokens, and a model that was loaded with ${rows}`,
    fix: "load the model with this adapter alone, which brings its rows and its tokenizer: loadModel(MODEL, { adapter: DIR }); or merge it into a model of its own: tunesmith merge --model MODEL --adapter DIR --out DIR",
  });

/** A choice while another is part of the weights. */
export const stillMerged = (merged: unknown) =>
  new TunesmithError("config", {
    where: "adapters",
    rule: "while an adapter is part of the weights, no other is chosen, loaded or unloaded",
    seen: `${JSON.stringify(merged)} is merged`,
    fix: "call adapters.unmerge() first",
  });

/** A selection by rows for a batch of another size. */
export const otherRowCount = (names: number, rows: number) =>
  new TunesmithError("shape", {
    where: "adapters",
    rule: "a selection by rows has an entry for each row of the batch",
    seen: `${names} entries for ${rows} rows`,
    fix: "give one name or null for each row",
  });

/** A selection by rows of an adapter that changes the output matrix, which all rows share. */
export const rowsShareOutput = (name: string, outputPath: string) =>
  new TunesmithError("config", {
    where: "adapters",
    rule: "adapters chosen row by row leave the output matrix alone",
    seen: `${JSON.stringify(name)} adapts ${outputPath}`,
    fix: "run its rows in a batch of their own",
  });

/** A conversion that needs a rank and has none. */
export const noRank = (method: string) =>
  new TunesmithError("config", {
    where: `converting ${method}`,
    rule: "a change of weights that is no product of thin matrices becomes one of a chosen rank",
    seen: "neither a rank nor a share of the singular values",
    fix: "give --rank 16, or --energy 0.9",
  });

/** A merge in memory that would need a second output matrix. */
export const untiedHead = (method: string) =>
  new TunesmithError("config", {
    where: `merging ${method}`,
    rule: "in memory, a tied output matrix stays the embedding",
    seen: "an adapter that changes one of them and not the other",
    fix: "write the merged model instead: tunesmith merge --model MODEL --adapter DIR --out DIR",
  });
