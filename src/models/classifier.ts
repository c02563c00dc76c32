// A decoder that says something of a whole text: in place of the output matrix it has one with a row for
// every label, read at the text's last token. Any architecture can be opened so, as Transformers'
// `*ForSequenceClassification` are; a reward model is one with a single label.

import { TunesmithError } from "../errors.ts";
import type { Dimensions, LogitShape, WeightSpec } from "./architecture.ts";

type Json = Readonly<Record<string, unknown>>;

/** What the numbers of the labels mean, by Transformers' names: one label is right, any may be, values. */
const PROBLEMS = [
  "single_label_classification",
  "multi_label_classification",
  "regression",
] as const;
export type Problem = (typeof PROBLEMS)[number];

export interface Classifier {
  /** Names of the labels, in the order of the matrix's rows. */
  readonly labels: readonly string[];
  readonly problem: Problem;
}

/** The module that makes a label's number of a state, in every architecture. */
const SCORE_PATH = "score";
export const SCORE_WEIGHT = `${SCORE_PATH}.weight`;

const CLASS_SUFFIX = "ForSequenceClassification";

/** Transformers' names of labels that have none, and the number of labels where nothing says it. */
export const unnamedLabels = (count = 2): string[] =>
  Array.from({ length: count }, (_, index) => `LABEL_${index}`);

/** Transformers' problem of a model that does not say it: a single number is a value. */
export const usualProblem = (labels: readonly string[]): Problem =>
  labels.length === 1 ? "regression" : "single_label_classification";

/**
 * The classifier that a config.json describes; undefined for a model that continues texts.
 * @throws TunesmithError (checkpoint) for labels or a problem that are none
 */
export function readClassifier(json: Json, where: string): Classifier | undefined {
  const names = Array.isArray(json.architectures) ? json.architectures : [];
  if (!names.some((name) => String(name).endsWith(CLASS_SUFFIX))) return undefined;
  return classifierOf(json, where);
}

/** The same from the keys alone that name labels and problem. */
export function classifierOf(json: Json, where: string): Classifier {
  const { id2label, num_labels: count, problem_type: problem } = json;
  const labels =
    typeof id2label === "object" && id2label !== null
      ? Object.keys(id2label).map((_, index) => (id2label as Json)[index])
      : unnamedLabels(typeof count === "number" ? count : undefined);
  const fault = (key: string, rule: string) =>
    new TunesmithError("checkpoint", {
      where: `${where}: ${key}`,
      rule,
      seen: JSON.stringify(json[key]) ?? "no such key",
      fix: "correct it, or fetch the file again",
    });
  if (labels.length === 0 || !labels.every((label) => typeof label === "string"))
    throw fault("id2label", "names every label by its number, from 0 on");
  const known = PROBLEMS.find((name) => name === (problem ?? usualProblem(labels)));
  if (!known) throw fault("problem_type", `one of ${PROBLEMS.join(", ")}`);
  return { labels, problem: known };
}

/** What Transformers' configuration says of a classifier. */
export const classifierKeys = ({ labels, problem }: Classifier) => ({
  id2label: Object.fromEntries(labels.map((label, index) => [index, label])),
  label2id: Object.fromEntries(labels.map((label, index) => [label, index])),
  problem_type: problem,
});

/** A model's config.json as that of a classifier on top of the same decoder. */
export function classifierConfig(json: Json, classifier: Classifier): Record<string, unknown> {
  const [name = String(json.model_type)] = (json.architectures ?? []) as string[];
  const stem = name.replace(/(For[A-Z]\w*|LMHeadModel|Model)$/, "");
  const { num_labels: _, ...rest } = json;
  return { ...rest, architectures: [`${stem}${CLASS_SUFFIX}`], ...classifierKeys(classifier) };
}

/** What of a bound architecture its head is. */
interface WithHead {
  readonly dimensions: Dimensions;
  readonly weights: readonly WeightSpec[];
  readonly embeddingName: string;
  readonly outputPath: string;
  readonly outputName: string;
  readonly logitCount: number;
  readonly logitShape: LogitShape;
  readonly classifier: (Classifier & { readonly padToken: number | undefined }) | undefined;
  readonly ignoredTensors: RegExp | undefined;
}

/**
 * The architecture with the matrix of labels in place of the output matrix.
 * @param padToken the token that batches of this model are padded with, which no text ends in
 */
export function classifying<Architecture extends WithHead>(
  architecture: Architecture,
  classifier: Classifier,
  padToken: number | undefined,
): Architecture {
  const { weights, embeddingName, outputPath, ignoredTensors, dimensions } = architecture;
  const outputUse = `${outputPath}.`;
  const isOutput = (name: string) => name.startsWith(outputUse) && name !== embeddingName;
  const ofOutput = `^${outputUse.replaceAll(".", "\\.")}`;
  const labels = classifier.labels.length;
  return {
    ...architecture,
    weights: [
      ...weights.filter(({ name }) => !isOutput(name)),
      { name: SCORE_WEIGHT, shape: [labels, dimensions.hiddenSize], role: "output" },
    ],
    outputPath: SCORE_PATH,
    outputName: SCORE_WEIGHT,
    logitCount: labels,
    logitShape: {},
    classifier: { ...classifier, padToken },
    // Files of a model that continued texts still hold its output matrix.
    ignoredTensors: new RegExp(ignoredTensors ? `${ofOutput}|${ignoredTensors.source}` : ofOutput),
  };
}
