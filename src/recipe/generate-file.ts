// A file of prompts answered into a file: the records as they are, each with its reply, in their order.

import { findFiles, imagesIn, ofRecord, type Row, readPrompt, readRecords } from "../data/index.ts";
import { textContext } from "../engine/text-context.ts";
import {
  createRequests,
  DEFAULT_BATCH,
  DEFAULT_NEW_TOKENS,
  type FinishedReply,
  type RequestsOptions,
  stopTokenIds,
  withModelDefaults,
} from "../generate/index.ts";
import { writeAtomically } from "../hub/index.ts";
import {
  type AnswerOptions,
  type ConversationOptions,
  type OpenedText,
  openText,
  type Sampling,
} from "./conversation.ts";
import { datasetResolver } from "./datasets.ts";
import type { PromptReader } from "./prompts.ts";

export interface GenerateFileOptions extends ConversationOptions, AnswerOptions, RequestsOptions {
  /** A file, a folder or a dataset of the hub; its records have prompts. */
  readonly data: string;
  /** The file to write, JSON lines: each record, what follows its prompt as `reply`, and why that ended. */
  readonly out: string;
  /** Continues texts themselves, without the chat template. */
  readonly raw?: boolean;
  /** Told after each reply. */
  readonly onReply?: (progress: GenerateFileProgress) => void;
}

export interface GenerateFileProgress {
  /** Records in all. */
  readonly records: number;
  /** Replies so far, and their tokens. */
  readonly replies: number;
  readonly tokens: number;
  /** Of the replies, those that `maxNewTokens` or the end of the model's context cut off. */
  readonly cutOff: number;
  readonly seconds: number;
}

/** Records that are read ahead, for each that is answered at once. */
const AHEAD = 4;

/**
 * Answers the prompts of a file, several at once. Where the signal aborts, the file has the records up to
 * the first without a reply; before the first prompt is read, it ends with the signal's reason.
 *
 * @throws TunesmithError (data) for a record without a prompt, (config) for a prompt that leaves no room
 * @example
 *     await generateFile({ model: "./my-model", data: "questions.jsonl", out: "answers.jsonl" });
 */
export async function generateFile(options: GenerateFileOptions): Promise<GenerateFileProgress> {
  const { data, signal } = options;
  const files = await findFiles(data, datasetResolver(options));
  const { records, images } = await countPrompts(files, signal);
  const opened = await openText(options);
  try {
    if (images > 0) await checkImages(files, opened.prompts);
    return await answerAll(opened, files, records, options);
  } finally {
    await opened.model.dispose();
  }
}

async function answerAll(
  { model, tokenizer, prompts }: OpenedText,
  files: readonly string[],
  records: number,
  options: GenerateFileOptions,
): Promise<GenerateFileProgress> {
  const { out, raw = false, signal, onReply, maxBatch = DEFAULT_BATCH } = options;
  const { cacheBytes, responseFormat } = options;
  const requests = createRequests({ model, tokenizer }, { maxBatch, cacheBytes });
  const context = textContext(model);
  const sampling = withModelDefaults(samplingOf(options), model.generationConfig);
  const stops = stopTokenIds(model, tokenizer);
  const submit = async (row: Row): Promise<FinishedReply> => {
    const prompt = await ofRecord(row.where, () => prompts.read(readPrompt(row), raw));
    const { inputIds } = prompt;
    const room = Math.max(1, context - inputIds.length);
    const maxNewTokens = Math.min(options.maxNewTokens ?? DEFAULT_NEW_TOKENS, room);
    const ends = { maxNewTokens, stopTokenIds: stops, signal };
    return requests.submit({ ...sampling, ...ends, ...prompt, responseFormat }).finished;
  };

  const began = performance.now();
  let progress: GenerateFileProgress = { records, replies: 0, tokens: 0, cutOff: 0, seconds: 0 };
  const count = (reply: FinishedReply) => {
    progress = {
      records,
      replies: progress.replies + 1,
      tokens: progress.tokens + reply.tokenIds.length,
      cutOff: progress.cutOff + (reply.stoppedBecause === "length" ? 1 : 0),
      seconds: (performance.now() - began) / 1000,
    };
    onReply?.(progress);
  };
  await writeAtomically(out, async (file) => {
    const ahead: { readonly row: Row; readonly finished: Promise<FinishedReply> }[] = [];
    const writeFirst = async () => {
      const { row, finished } = ahead.shift()!;
      const { text: reply, stoppedBecause } = await finished;
      await file.write(`${JSON.stringify({ ...row.record, reply, stoppedBecause })}\n`);
    };
    try {
      for await (const row of readRecords(files)) {
        const finished = submit(row);
        finished.then(count, () => {});
        ahead.push({ row, finished });
        if (ahead.length >= AHEAD * maxBatch) await writeFirst();
      }
      while (ahead.length > 0) await writeFirst();
    } catch (error) {
      if (!signal?.aborted || error !== signal.reason) throw error;
    }
  });
  return progress;
}

/** How many records there are, and images in them. @throws TunesmithError (data) for the first without a prompt */
async function countPrompts(files: readonly string[], signal: AbortSignal | undefined) {
  const counts = { records: 0, images: 0 };
  for await (const row of readRecords(files)) {
    signal?.throwIfAborted();
    counts.images += imagesOf(row).length;
    counts.records++;
  }
  return counts;
}

/** @throws TunesmithError for the first image that is none, or that the model does not look at */
async function checkImages(files: readonly string[], prompts: PromptReader): Promise<void> {
  for await (const row of readRecords(files))
    for (const path of imagesOf(row)) await ofRecord(row.where, () => prompts.openImage(path));
}

const imagesOf = (row: Row) => imagesIn([readPrompt(row)]);

function samplingOf(options: Sampling): Sampling {
  const { temperature, topK, topP, minP, repetitionPenalty, seed } = options;
  return { temperature, topK, topP, minP, repetitionPenalty, seed };
}
