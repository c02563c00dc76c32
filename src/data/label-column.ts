// The label that a record has beside what is judged: any format's records may have one.

import { TunesmithError } from "../errors.ts";
import type { ColumnMapping } from "./formats.ts";
import { type DatasetSide, findFiles, type ResolveDataset, readRecords } from "./read.ts";
import type { Row } from "./row.ts";

const LABEL_COLUMN = "label";

/** What a record's label means to a classifier, as `Batch.rowLabels` has it. */
export type ReadLabel = (value: unknown, where: string) => readonly number[];

/** The mapping of a format's own columns. */
export function withoutLabel({ [LABEL_COLUMN]: _, ...columns }: ColumnMapping): ColumnMapping {
  return columns;
}

/** @throws TunesmithError (data) for a record without one */
export function labelOf({ record, where }: Row, columns: ColumnMapping = {}): unknown {
  const column = columns[LABEL_COLUMN] ?? LABEL_COLUMN;
  const value = record[column];
  if (value !== undefined && value !== null) return value;
  const others = Object.keys(record).join(", ");
  throw new TunesmithError("data", {
    where,
    rule: `every record has a ${LABEL_COLUMN} beside what is judged`,
    seen: column in record ? `no value in ${column}` : `no ${column} among ${others}`,
    fix: `complete the record, or map its column: columns: { ${LABEL_COLUMN}: "…" }`,
  });
}

/** The labels of all records, as the files have them, without tokenising any. */
export async function* labelsIn(
  source: string | readonly string[],
  side: DatasetSide,
  { columns, resolve }: { readonly columns?: ColumnMapping; readonly resolve?: ResolveDataset },
): AsyncGenerator<{ readonly value: unknown; readonly where: string }> {
  for await (const row of readRecords(await findFiles(source, resolve, side)))
    yield { value: labelOf(row, columns), where: row.where };
}
