// CSV and TSV with a header line, by csv-parse. The separator is the one the header uses most.

import { pipeline, Readable } from "node:stream";
import { type CsvError, parse } from "csv-parse";
import { TunesmithError } from "../errors.ts";
import type { Row } from "./row.ts";
import { excerpt, MAX_RECORD_LENGTH, readLines } from "./text-stream.ts";

const SEPARATORS = [",", ";", "\t"];

/** Values are strings. @throws TunesmithError (data) naming file, line and reason. */
export async function* readCsv(path: string): AsyncGenerator<Row> {
  const parser = parse({
    columns: (header: string[]) => checkHeader(header, path),
    delimiter: await findSeparator(path),
    info: true,
    skip_empty_lines: true,
    max_record_size: MAX_RECORD_LENGTH,
  });
  // The pipeline hands a fault of the source on to the parser, whose iteration below throws it.
  pipeline(Readable.from(withLineFeeds(path)), parser, () => {});
  try {
    for await (const { record, info } of parser as AsyncIterable<CsvRecord>) {
      const lineEnds = Object.values(record).join("").split("\n").length - 1;
      yield { record, where: `${path}:${info.lines - lineEnds}` };
    }
  } catch (cause) {
    if (cause instanceof TunesmithError) throw cause;
    throw csvFault(path, cause as CsvError);
  }
}

/** Every line end as "\n", also inside quotes, where csv-parse would count "\r\n" as two lines. */
async function* withLineFeeds(path: string): AsyncGenerator<string> {
  for await (const { text } of readLines(path)) yield `${text}\n`;
}

interface CsvRecord {
  readonly record: Record<string, string>;
  /** `lines`: the number of the line on which the record ends. */
  readonly info: { readonly lines: number };
}

async function findSeparator(path: string): Promise<string> {
  for await (const { text } of readLines(path)) {
    if (text.trim() === "") continue;
    const counts = SEPARATORS.map((separator) => text.split(separator).length);
    return SEPARATORS[counts.indexOf(Math.max(...counts))]!;
  }
  return ",";
}

function checkHeader(header: string[], path: string): string[] {
  const twice = header.find((name, index) => header.indexOf(name) !== index);
  if (twice !== undefined)
    throw new TunesmithError("data", {
      where: `${path}:1`,
      rule: "the first line names the columns, each once",
      seen: `"${twice}" twice in: ${excerpt(header.join(", "))}`,
      fix: "rename one of them, or add a header line if there is none",
    });
  return header;
}

function csvFault(path: string, cause: CsvError): TunesmithError {
  const line = typeof cause.lines === "number" ? `:${cause.lines}` : "";
  return new TunesmithError(
    "data",
    {
      where: `${path}${line}`,
      rule: "every CSV record has as many fields as the header, with quotes closed and doubled inside",
      seen: excerpt(cause.message, 160),
      fix: 'put fields that contain separators, quotes or line ends in double quotes ("")',
    },
    { cause },
  );
}
