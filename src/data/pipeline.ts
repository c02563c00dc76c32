// From files to samples, record by record: read, recognise, decide the side, tokenise, cut. Nothing is
// kept, so the same pipeline fills the memory or streams.

import type { Tokenizer } from "../hub/tokenizers/tokenizer-types.ts";
import type { Example } from "./example.ts";
import { type ColumnMapping, createExampleReader, type FormatName } from "./formats.ts";
import { readRecords } from "./read.ts";
import type { Sample } from "./sample.ts";
import { contentHash } from "./split.ts";
import { createTokenize, type EncodeChat, type LossMode } from "./tokenize.ts";
import { ruleFor, type Truncated, type TruncationRule, truncate } from "./truncate.ts";

export interface PipelineOptions {
  readonly format?: FormatName | "auto" | undefined;
  readonly columns?: ColumnMapping | undefined;
  readonly loss?: LossMode | undefined;
  readonly maxLength: number;
  readonly truncation?: TruncationRule | undefined;
  /** Called now and then with the number of records read so far. */
  readonly onProgress?: ((records: number) => void) | undefined;
}

/** Files, and which of their records are meant. */
export interface Side {
  readonly files: readonly string[];
  /** Whether a record belongs here, by the hash of its content. */
  readonly accepts: (hash: number) => boolean;
}

/** A record on its way: its tokens before any cut, and what truncation made of them. */
export interface ProcessedRecord extends Truncated {
  readonly whole: Sample;
  readonly hash: number;
  readonly format: FormatName;
}

export interface Pipeline {
  /** The content hashes of all records, without tokenising any. */
  hashes(files: readonly string[]): AsyncGenerator<number>;
  /** The records of a side, tokenised and cut. */
  process(side: Side): AsyncGenerator<ProcessedRecord>;
}

const PROGRESS_EVERY = 500;

/** @throws TunesmithError (data) while iterating, at the first faulty record. */
export function createPipeline(
  options: PipelineOptions,
  tokenizer: Tokenizer,
  encodeChat: EncodeChat,
): Pipeline {
  const { loss = "auto", truncation = "auto", maxLength } = options;
  const tokenize = createTokenize({ tokenizer, encodeChat, loss });

  async function* examples(files: readonly string[]) {
    const reader = createExampleReader(options.format, options.columns);
    let records = 0;
    for await (const row of readRecords(files)) {
      const example: Example = reader.read(row);
      yield { example, where: row.where, format: reader.format as FormatName };
      if (++records % PROGRESS_EVERY === 0) options.onProgress?.(records);
    }
  }

  return {
    async *hashes(files) {
      for await (const { example } of examples(files)) yield contentHash(example);
    },
    async *process(side) {
      for await (const { example, where, format } of examples(side.files)) {
        const hash = contentHash(example);
        if (!side.accepts(hash)) continue;
        const whole = tokenize(example, where);
        const cut = truncate(whole, maxLength, ruleFor(truncation, example.kind));
        yield { ...cut, whole, hash, format };
      }
    },
  };
}
