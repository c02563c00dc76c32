// Parquet by hyparquet, one row group at a time: memory is that of the largest group.

import { asyncBufferFromFile, parquetMetadataAsync, parquetReadObjects } from "hyparquet";
import { compressors } from "hyparquet-compressors";
import { TunesmithError } from "../errors.ts";
import type { Row } from "./row.ts";

/** @throws TunesmithError (data) for a file that is not Parquet or is damaged. */
export async function* readParquet(path: string): AsyncGenerator<Row> {
  const { file, metadata } = await guard(path, async () => {
    const file = await asyncBufferFromFile(path);
    return { file, metadata: await parquetMetadataAsync(file) };
  });
  let rowStart = 0;
  for (const group of metadata.row_groups) {
    const rowEnd = rowStart + Number(group.num_rows);
    const records = await guard(path, () =>
      parquetReadObjects({ file, metadata, compressors, rowStart, rowEnd }),
    );
    for (const [index, record] of records.entries())
      yield { record, where: `${path}:${rowStart + index + 1}` };
    rowStart = rowEnd;
  }
}

async function guard<T>(path: string, read: () => Promise<T>): Promise<T> {
  try {
    return await read();
  } catch (cause) {
    throw new TunesmithError(
      "data",
      {
        where: path,
        rule: "a .parquet file must be a complete Parquet file",
        seen: (cause as Error).message,
        fix: "write or download it again, or convert it to JSONL",
      },
      { cause },
    );
  }
}
