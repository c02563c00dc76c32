// The classifier that a recipe's objective asks for: its labels are listed, the checkpoint's own, or those of
// the training data.

import { labelsIn } from "../data/index.ts";
import { TunesmithError } from "../errors.ts";
import type { Checkpoint } from "../hub/index.ts";
import { type Classifier, type Problem, readClassifier } from "../models/index.ts";
import { findLabels } from "../objectives/index.ts";
import type { Attention } from "./attention.ts";
import { datasetResolver } from "./datasets.ts";
import type { ParsedRecipe } from "./schema.ts";

export interface ChosenClassifier extends Classifier {
  /** Where the labels came from. */
  readonly origin: "recipe" | "checkpoint" | "data" | "usual";
}

const problemOf = ({ name, multiple }: ParsedRecipe["objective"]): Problem => {
  if (name === "regression") return "regression";
  return multiple ? "multi_label_classification" : "single_label_classification";
};

/**
 * Undefined where texts are continued.
 * @throws TunesmithError (config) for an objective that the model is not made for, (data) for training
 *   data without labels
 */
export async function classifierFor(
  { objective, data }: ParsedRecipe,
  checkpoint: Pick<Checkpoint, "config" | "source">,
  attention: Attention,
): Promise<ChosenClassifier | undefined> {
  const own = readClassifier(checkpoint.config, `${checkpoint.source}/config.json`);
  if (objective.name === "sft") {
    if (own) throw judges(own, checkpoint.source);
    return undefined;
  }
  const problem = problemOf(objective);
  const chosen = (labels: readonly string[], origin: ChosenClassifier["origin"]) => {
    if (problem === "single_label_classification" && labels.length < 2)
      throw oneLabel(labels, origin === "checkpoint" ? checkpoint.source : "objective.labels");
    return { labels, problem, origin };
  };
  if (objective.labels) return chosen(objective.labels.map(String), "recipe");
  if (own) return chosen(own.labels, "checkpoint");
  if (problem === "regression") return chosen(["score"], "usual");
  const resolve = datasetResolver(attention);
  return chosen(
    await findLabels(observed(labelsIn(data.train, "train", { ...data, resolve }), attention)),
    "data",
  );
}

const PROGRESS_EVERY = 500;

async function* observed<T>(records: AsyncIterable<T>, { signal, onProgress }: Attention) {
  let count = 0;
  for await (const record of records) {
    if (++count % PROGRESS_EVERY === 0) {
      signal?.throwIfAborted();
      onProgress?.({ stage: "read", records: count });
    }
    yield record;
  }
}

const judges = ({ labels, problem }: Classifier, source: string) =>
  new TunesmithError("config", {
    where: source,
    rule: "objective sft trains a model that continues texts",
    seen: `a classifier of ${labels.join(", ")}`,
    fix: `set objective: ${problem === "regression" ? "regression" : "classification"}, or start from another model`,
  });

const oneLabel = (labels: readonly string[], where: string) =>
  new TunesmithError("config", {
    where,
    rule: "one of at least two labels is right",
    seen: labels.join(", "),
    fix: "name more labels, or use objective: regression for a value",
  });
