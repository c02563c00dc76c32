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
  /** Of the replies, those that `maxNewTokens` or the end of the model's context cut off. */
  readonly cutOff: number;
  readonly seconds: number;
}

/** Records that are read ahead, for each that is answered at once. */
const AHEAD = 4;

/**
 * Answers the prompts of a file, several at once. Where the signal aborts, the file has the records up to
 * the first without a reply.
 *
 * @throws TunesmithError (data) for a record without a prompt, (config) for a prompt that leaves no room
 * @example
 *     await generateFile({ model: "./my-model", data: "questions.jsonl", out: "answers.jsonl" });
 */
export async function generateFile(options: GenerateFileOptions): Promise<GenerateFileProgress> {
  const { data, out, raw = false, signal, onReply, maxBatch = DEFAULT_BATCH } = options;
  const files = await findFiles(data, datasetResolver(options));
  const records = await countPrompts(files);
  const { model, tokenizer } = await openText(options);
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
  try {
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
  } finally {
    await model.dispose();
  }
}

/** How many records there are. @throws TunesmithError (data) for the first without a prompt */
async function countPrompts(files: readonly string[]): Promise<number> {
  let count = 0;
  for await (const row of readRecords(files)) {
    readPrompt(row);
    count++;
  }
  return count;
}

function samplingOf(options: Sampling): Sampling {
  const { temperature, topK, topP, minP, repetitionPenalty, seed } = options;
  return { temperature, topK, topP, minP, repetitionPenalty, seed };
}
