// A recipe's data opened for its model, with what there is to say about them in plain words.

import type { BatchSource } from "../data/batch-source.ts";
import { type DatasetReport, loadDataset } from "../data/load.ts";
import { encodeChat } from "../hub/index.ts";
import { type Prepared, type PrepareOptions, prepare, type RecipeSource } from "./prepare.ts";
import { type PreviewRow, previewRows } from "./preview.ts";

/** Something worth knowing about the data, for people. */
export interface DataFact {
  readonly name: string;
  readonly value: string;
}

export interface RecipeData {
  readonly train: BatchSource;
  readonly evaluation: BatchSource | undefined;
  readonly report: DatasetReport;
  readonly facts: readonly DataFact[];
}

/** Opens the data of a prepared recipe. Throws a TunesmithError for faults of files and records. */
export async function openRecipeData({ recipe, tokenizer }: Prepared): Promise<RecipeData> {
  const { train, eval: evaluation, ...options } = recipe.data;
  const dataset = await loadDataset(
    {
      ...options,
      train,
      eval: evaluation,
      batchSize: recipe.train.batchSize,
      seed: recipe.train.seed,
    },
    tokenizer,
    encodeChat,
  );
  const { report } = dataset;
  return { train: dataset.train, evaluation: dataset.eval, report, facts: factsOf(report) };
}

export interface DataPreview {
  readonly facts: readonly DataFact[];
  readonly rows: readonly PreviewRow[];
}

/** The data of a recipe as its model will see them; needs the model's tokenizer, not its weights. */
export async function previewRecipeData(
  source: RecipeSource,
  options: PrepareOptions & { readonly rows: number },
): Promise<DataPreview> {
  const prepared = await prepare(source, options);
  try {
    const { train, facts } = await openRecipeData(prepared);
    return { facts, rows: await previewRows(train, prepared.tokenizer, options.rows) };
  } finally {
    await prepared.checkpoint.close();
  }
}

function factsOf(report: DatasetReport): DataFact[] {
  const { records, samples, tokens, targets, longest, lengths } = report;
  const about = report.complete ? "" : ` (of the first ${records} records; the rest is streamed)`;
  const facts: (DataFact | false)[] = [
    { name: "format", value: report.format },
    { name: "samples", value: `${samples}${about}` },
    { name: "tokens", value: String(tokens) },
    {
      name: "trained on",
      value: `${targets} (${((100 * targets) / Math.max(1, tokens)).toFixed(1)} %)`,
    },
    {
      name: "lengths",
      value: lengths
        .filter((bucket) => bucket.samples > 0)
        .map((bucket) => `≤${bucket.upTo}: ${bucket.samples}`)
        .join(", "),
    },
    { name: "longest", value: `${longest.tokens} tokens (${longest.where})` },
    report.truncated > 0 && { name: "cut", value: `${report.truncated} records` },
    report.split > 0 && { name: "split", value: `${report.split} records` },
    report.dropped > 0 && { name: "left out as too long", value: `${report.dropped} records` },
    report.untargeted > 0 && {
      name: "left out, nothing to train on",
      value: `${report.untargeted} records`,
    },
    report.eval !== undefined && {
      name: "held out",
      value: `${report.eval.samples} samples, ${report.eval.targets} tokens measured`,
    },
    report.evalInTrain > 0 && {
      name: "held out but in training too",
      value: `${report.evalInTrain} records: the measure is flattered`,
    },
  ];
  return facts.filter((fact) => fact !== false);
}
