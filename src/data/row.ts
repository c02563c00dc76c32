// One record of a dataset file and where it stands, which every fault about it names.

export interface Row {
  readonly record: Readonly<Record<string, unknown>>;
  /** "file:line"; for Parquet, which has no lines, "file:row". Both count from 1. */
  readonly where: string;
}
