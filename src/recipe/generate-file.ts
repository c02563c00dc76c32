// A file of prompts answered into a file: the records as they are, each with its reply, in their order.

import { findFiles, type Row, readPrompt, readRecords } from "../data/index.ts";
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
  promptIdsOf,
  type Sampling,
} from "./conversation.ts";
import { datasetResolver } from "./datasets.ts";

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
  const files = await findFiles(options.data, datasetResolver(options));
  const records = await countPrompts(files, options.signal);
  const { model, tokenizer } = await openText(options);
  try {
    return await answerAll({ model, tokenizer }, files, records, options);
  } finally {
    await model.dispose();
  }
}

async function answerAll(
  { model, tokenizer }: OpenedText,
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
  const submit = (row: Row): Promise<FinishedReply> => {
    const inputIds = promptIdsOf({ model, tokenizer }, readPrompt(row), raw);
    const room = Math.max(1, context - inputIds.length);
    const maxNewTokens = Math.min(options.maxNewTokens ?? DEFAULT_NEW_TOKENS, room);
    const ends = { maxNewTokens, stopTokenIds: stops, signal };
    return requests.submit({ ...sampling, ...ends, inputIds, responseFormat }).finished;
  };

  const began = performance.now();
  let progress: GenerateFileProgress = { records, replies: 0, tokens: 0, seconds: 0 };
  const count = (reply: FinishedReply) => {
    progress = {
      records,
      replies: progress.replies + 1,
      tokens: progress.tokens + reply.tokenIds.length,
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

/** How many records there are. @throws TunesmithError (data) for the first without a prompt */
async function countPrompts(
  files: readonly string[],
  signal: AbortSignal | undefined,
): Promise<number> {
  let count = 0;
  for await (const row of readRecords(files)) {
    signal?.throwIfAborted();
    readPrompt(row);
    count++;
  }
  return count;
}

function samplingOf(options: Sampling): Sampling {
  const { temperature, topK, topP, minP, repetitionPenalty, seed } = options;
  return { temperature, topK, topP, minP, repetitionPenalty, seed };
}
