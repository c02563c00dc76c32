// Labels between a file and a classifier: found in the data where nobody lists them, and read as the
// numbers that a classifier's loss is of.

import { nearest, TunesmithError } from "../errors.ts";
import type { Classifier } from "../models/index.ts";

/** A label and where it stands, as "file:line". */
export interface PlacedLabel {
  readonly value: unknown;
  readonly where: string;
}

/** More labels than a person would have named: those are values. */
const MOST_LABELS = 1000;

const isName = (value: unknown): value is string | number | boolean =>
  ["string", "number", "boolean"].includes(typeof value);

const isWhole = (text: string) => /^-?\d+$/.test(text);

/**
 * The labels that there are, numbers by size and names by the alphabet, so that the order of the file does
 * not matter.
 * @throws TunesmithError (data) for labels that are none, fewer than two, or very many
 */
export async function findLabels(records: AsyncIterable<PlacedLabel>): Promise<string[]> {
  const found = new Set<string>();
  let last = "data.train";
  for await (const { value, where } of records) {
    last = where;
    for (const each of Array.isArray(value) ? value : [value]) {
      if (!isName(each)) throw noLabel(each, where);
      found.add(String(each));
    }
    if (found.size > MOST_LABELS)
      throw new TunesmithError("data", {
        where,
        rule: `there are at most ${MOST_LABELS} labels, unless they are listed`,
        seen: `${found.size} different ones so far, such as ${JSON.stringify(String(value))}`,
        fix: "use objective: regression for values, or list them: objective.labels",
      });
  }
  if (found.size < 2)
    throw new TunesmithError("data", {
      where: last,
      rule: "there are at least two labels to tell apart",
      seen: [...found].map((label) => JSON.stringify(label)).join(", ") || "none",
      fix: "add records with other labels, or list all of them: objective.labels",
    });
  const labels = [...found];
  return labels.every(isWhole)
    ? labels.sort((a, b) => Number(a) - Number(b))
    : labels.sort((a, b) => (a < b ? -1 : 1));
}

/**
 * What reads a record's label for a classifier (see `Batch.rowLabels`): a label's name, or its number
 * where no label is called so; several in a list where any may be right; values.
 *
 * Its function throws a TunesmithError (data) for anything else.
 */
export function createLabelReader({
  labels,
  problem,
}: Classifier): (value: unknown, where: string) => readonly number[] {
  const numberOf = (value: unknown, where: string): number => {
    if (!isName(value)) throw noLabel(value, where);
    const name = String(value);
    const index = labels.indexOf(name);
    if (index >= 0) return index;
    if (isWhole(name) && Number(name) >= 0 && Number(name) < labels.length) return Number(name);
    const guess = nearest(name, labels);
    throw new TunesmithError("data", {
      where,
      rule: `a label is one of ${labels.slice(0, 20).join(", ")}${labels.length > 20 ? ", …" : ""}`,
      seen: JSON.stringify(value),
      fix: guess
        ? `did you mean ${JSON.stringify(guess)}?`
        : "correct it, or list it: objective.labels",
    });
  };
  const readers: Record<Classifier["problem"], (value: unknown, where: string) => number[]> = {
    single_label_classification: (value, where) => [numberOf(value, where)],
    multi_label_classification(value, where) {
      const right = new Set(
        (Array.isArray(value) ? value : [value]).map((each) => numberOf(each, where)),
      );
      return labels.map((_, index) => (right.has(index) ? 1 : 0));
    },
    regression(value, where) {
      const values = (Array.isArray(value) ? value : [value]).map(numberIn);
      if (values.length === labels.length && values.every(Number.isFinite)) return values;
      throw new TunesmithError("data", {
        where,
        rule:
          labels.length === 1
            ? "the label is a number"
            : `the label is ${labels.length} numbers (${labels.join(", ")})`,
        seen: JSON.stringify(value),
        fix: "correct it, or use objective: classification for names",
      });
    },
  };
  return readers[problem];
}

/** CSV has numbers as texts. */
const numberIn = (value: unknown): number =>
  typeof value === "string" && value.trim() !== ""
    ? Number(value)
    : typeof value === "number"
      ? value
      : Number.NaN;

const noLabel = (value: unknown, where: string) =>
  new TunesmithError("data", {
    where,
    rule: "a label is a text, a number, true or false",
    seen: JSON.stringify(value) ?? String(value),
    fix: "write the label's name",
  });

/** What a record's numbers mean, as a person would say it. */
export function describeLabel({ labels, problem }: Classifier, numbers: readonly number[]): string {
  if (problem === "single_label_classification") return labels[numbers[0]!]!;
  if (problem === "regression") return numbers.join(", ");
  return labels.filter((_, index) => numbers[index] === 1).join(", ") || "none";
}
