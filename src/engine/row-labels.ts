// What a batch must have to be put to a classifier, and what it must not have for any other model.

import { TunesmithError } from "../errors.ts";
import type { Classifier } from "../models/index.ts";
import type { Batch } from "./batch.ts";

/** @throws TunesmithError (shape, data) for packed rows, and labels that the classifier has not */
export function checkClassified(
  { inputIds, segmentIds, rowLabels }: Batch,
  { labels, problem }: Classifier,
): void {
  if (segmentIds)
    throw new TunesmithError("data", {
      where: "batch: segmentIds",
      rule: "a row holds one text, which a classifier judges as a whole",
      seen: "packed rows",
      fix: "set data.packing: false",
    });
  if (!rowLabels) return;
  const isLabel = problem === "single_label_classification";
  const width = isLabel ? 1 : labels.length;
  const odd = rowLabels.findIndex((row) => row.length !== width);
  if (rowLabels.length !== inputIds.length || odd >= 0)
    throw new TunesmithError("shape", {
      where: "batch: rowLabels",
      rule: `has ${inputIds.length} rows, like inputIds, of ${width} (${isLabel ? "the label's number" : "a value for every label"})`,
      seen: odd < 0 ? `${rowLabels.length} rows` : `row ${odd} with ${rowLabels[odd]!.length}`,
      fix: `the labels are ${labels.join(", ")}`,
    });
  const isPossible = (value: number) =>
    isLabel
      ? Number.isInteger(value) && value >= 0 && value < labels.length
      : Number.isFinite(value);
  const wrong = rowLabels.flat().find((value) => !isPossible(value));
  if (wrong === undefined) return;
  throw new TunesmithError("data", {
    where: "batch: rowLabels",
    rule: isLabel ? `labels lie between 0 and ${labels.length - 1}` : "values are finite numbers",
    seen: String(wrong),
    fix: `the labels are ${labels.join(", ")}`,
  });
}

/** @throws TunesmithError (data) for labels of whole rows */
export function checkUnlabelledRows({ rowLabels }: Batch): void {
  if (!rowLabels) return;
  throw new TunesmithError("data", {
    where: "batch: rowLabels",
    rule: "whole rows are judged by a classifier",
    seen: "a model that continues texts",
    fix: "open it with a classifier, or pass labels: a token for every position",
  });
}
