// From files to samples, record by record: read, recognise, decide the side, tokenise, cut. Nothing is
// kept, so the same pipeline fills the memory or streams.

import { IGNORED_LABEL } from "../engine/batch.ts";
import { TunesmithError } from "../errors.ts";
import type { ImageProcessor, Tokenizer } from "../hub/index.ts";
import type { BlankTokens } from "../models/index.ts";
import { createRandom } from "../runtime/random.ts";
import { blankedText, roomForText } from "./blanks.ts";
import type { Example, TextOrMessages } from "./example.ts";
import { type ColumnMapping, createExampleReader, type FormatName } from "./formats.ts";
import { imagesIn } from "./image-column.ts";
import { labelOf, type ReadLabel, withoutLabel } from "./label-column.ts";
import { readRecords } from "./read.ts";
import type { Row } from "./row.ts";
import type { Sample } from "./sample.ts";
import { createImageOpener } from "./sample-images.ts";
import { contentHash, HASHES } from "./split.ts";
import { createTokenize, type EncodeChat, type LossMode } from "./tokenize.ts";
import { ruleFor, type Truncated, type TruncationRule, truncate } from "./truncate.ts";

export interface PipelineOptions {
  readonly format?: FormatName | "auto" | undefined;
  readonly columns?: ColumnMapping | undefined;
  readonly loss?: LossMode | undefined;
  /** For classifiers: records have a label, and it is what is learned. */
  readonly readLabel?: ReadLabel | undefined;
  /** For models that fill blanks: what is learned is to fill them. */
  readonly blanks?: BlankTokens | undefined;
  /** Chooses blanks, and the order of samples. */
  readonly seed: number;
  /** Of a model that looks at images, how it reads them. */
  readonly imageProcessor?: ImageProcessor | undefined;
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
  /** How many tokens it may have had. */
  readonly limit: number;
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
  const { loss = "auto", truncation = "auto", maxLength, columns = {}, readLabel } = options;
  // A classifier fills none.
  const blanks = readLabel ? undefined : options.blanks;
  const { imageProcessor } = options;
  const imageOpener = imageProcessor && createImageOpener(imageProcessor, tokenizer);
  const tokenize = readLabel
    ? createTokenize({ tokenizer, encodeChat, loss: "all", ends: false })
    : createTokenize({ tokenizer, encodeChat, loss, blanks });
  const blankRandom = createRandom(options.seed).fork("blanks");
  /** Blanks come into a text when it is cut, since they take room; those of a content are the same anywhere. */
  const withBlanks = (cut: Truncated, hash: number, tokens: BlankTokens): Truncated => ({
    ...cut,
    samples: cut.samples.map((sample, index) => {
      const random = blankRandom.fork(hash * HASHES).fork(index);
      const { inputIds } = sample;
      return { ...sample, ...blankedText(inputIds, tokens, tokenizer.eosTokenId, random) };
    }),
  });
  const labelled = (sample: Sample, row: Row): Sample =>
    readLabel
      ? {
          ...sample,
          labels: sample.inputIds.map(() => IGNORED_LABEL),
          rowLabel: readLabel(labelOf(row, columns), row.where),
        }
      : sample;

  /** An example as tokens, with its images. */
  const withImages = async (example: Example, where: string): Promise<Sample> => {
    const paths = imagesIn(contentsOf(example));
    if (!imageOpener) {
      if (paths.length > 0) throw withoutProcessor(where, paths[0]!);
      return tokenize(example, where);
    }
    const images = await imageOpener.open(paths, where);
    return imageOpener.place(tokenize(example, where, imageOpener.prompts(images)), images);
  };

  async function* examples(files: readonly string[]) {
    const reader = createExampleReader(options.format, readLabel ? withoutLabel(columns) : columns);
    let records = 0;
    for await (const row of readRecords(files)) {
      const example: Example = reader.read(row);
      yield { example, row, format: reader.format as FormatName };
      if (++records % PROGRESS_EVERY === 0) options.onProgress?.(records);
    }
  }

  return {
    async *hashes(files) {
      for await (const { example } of examples(files)) yield contentHash(example);
    },
    async *process(side) {
      for await (const { example, row, format } of examples(side.files)) {
        const hash = contentHash(example);
        if (!side.accepts(hash)) continue;
        const whole = labelled(await withImages(example, row.where), row);
        const rule = ruleFor(truncation, example.kind, readLabel !== undefined);
        const inText = example.kind === "text" ? blanks : undefined;
        const limit = inText ? roomForText(maxLength) : maxLength;
        const cut = truncate(whole, limit, rule);
        const processed = inText ? withBlanks(cut, hash, inText) : cut;
        yield { ...processed, whole, limit, hash, format };
      }
    },
  };
}

/** Texts and messages of an example, in their order. */
function contentsOf(example: Example): TextOrMessages[] {
  if (example.kind === "text") return [];
  return example.kind === "conversation"
    ? [example.messages]
    : [example.prompt, example.completion];
}

const withoutProcessor = (where: string, path: string) =>
  new TunesmithError("data", {
    where,
    rule: "images are for models that look at them",
    seen: path,
    fix: "train an Idefics3 or a SmolVLM, or leave the images out",
  });
