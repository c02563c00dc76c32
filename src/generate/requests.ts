// Requests that join and leave a running batch. Each round reads the prompts of those that join, one by
// one, and then makes one token for every request that goes on; who is at its end makes room for the next
// at once. What a request is answered depends on no other.

import { freemem } from "node:os";
import type { AdapterChoice, AdapterSet } from "../engine/adapters/adapter-set-contract.ts";
import type { PixelValues } from "../engine/batch.ts";
import { createDecoder, type DecodableModel } from "../engine/decoding/decoder.ts";
import { createReadImages, type ReadImages } from "../engine/decoding/read-images.ts";
import { checkBatch } from "../engine/inputs.ts";
import { textContext } from "../engine/text-context.ts";
import { TunesmithError } from "../errors.ts";
import type { Tokenizer } from "../hub/index.ts";
import {
  checkGeneration,
  DEFAULT_NEW_TOKENS,
  type GenerationOptions,
  type GenerationSource,
} from "./options.ts";
import { prepareText, type Reply, type ReplyInProgress, startReply } from "./reply.ts";
import { createRowBatch, type RowBatch } from "./row-batch.ts";

/** What generation needs of a model; an `EngineModel` has it. */
export interface GenerativeModel extends DecodableModel, Omit<GenerationSource, "architecture"> {
  /** What requests choose adapters from; without it, they choose none. */
  readonly adapters?: AdapterSet;
}

export interface GenerationRequest extends GenerationOptions {
  /** The prompt. */
  readonly inputIds: readonly number[];
  /** The prompt's pictures, in the order of their tokens. */
  readonly pixelValues?: readonly PixelValues[] | undefined;
  /** Default: the base, or what the model was loaded with. */
  readonly adapter?: AdapterChoice;
  /** Tells requests with the same seed apart. Default 0: equal requests get equal replies. */
  readonly stream?: number;
}

export interface RequestsOptions {
  /** Requests that are answered side by side. Default 16. */
  readonly maxBatch?: number;
  /**
   * Bytes that keys and values may take: who would need more waits until others have left. Default: half
   * of the memory that is free at the start.
   */
  readonly cacheBytes?: number;
}

export interface Requests {
  /** Requests that are being answered, and those that wait. */
  readonly running: number;
  readonly waiting: number;
  /** Takes a request, which joins as soon as there is room for it. */
  submit(request: GenerationRequest): Reply;
}

/** What the requests are put to. */
export interface RequestsSource {
  readonly model: GenerativeModel;
  /** Needed for text and stop strings. */
  readonly tokenizer?: Tokenizer;
  /** Carries out one piece of work at a time, where others use the model between rounds. */
  readonly inTurn?: <T>(work: () => Promise<T>) => Promise<T>;
  /** Whether a text is kept when it is at its end, for a prompt that begins like it. */
  readonly keepsTexts?: boolean;
}

export const DEFAULT_BATCH = 16;

interface Waiting {
  readonly request: GenerationRequest;
  readonly answer: ReplyInProgress;
  /** Tokens that it may come to, its prompt included. */
  readonly positions: number;
}

/**
 * @example
 *     const requests = createRequests({ model, tokenizer });
 *     const replies = prompts.map((inputIds) => requests.submit({ inputIds, maxNewTokens: 64 }));
 *     for await (const { text } of replies[0]!) process.stdout.write(text);
 */
export function createRequests(
  { model, tokenizer, inTurn = (work) => work(), keepsTexts = false }: RequestsSource,
  { maxBatch = DEFAULT_BATCH, cacheBytes = freemem() / 2 }: RequestsOptions = {},
): Requests {
  checkCount(maxBatch);
  const { adapters } = model;
  const waiting: Waiting[] = [];
  /** One for the base and all adapters that go side by side, one for each other choice. */
  const batches = new Map<string, RowBatch>();
  let isRunning = false;

  const select = async (choices: readonly AdapterChoice[]): Promise<GenerativeModel> => {
    if (!adapters) return model;
    const [first = null] = choices;
    const isOne = choices.every((choice) => choice === first);
    // What goes side by side has a name, or is the base.
    return adapters.select(isOne ? first : (choices as readonly (string | null)[]), choices.length);
  };
  const { images, dimensions } = model.architecture;
  const imageTokens = images && { token: images.token, width: dimensions.hiddenSize };
  const batchOf = async (choice: AdapterChoice): Promise<RowBatch> => {
    const key = !adapters || adapters.mixes(choice) ? "" : JSON.stringify(choice);
    const known = batches.get(key);
    if (known) return known;
    const own = await select([key === "" ? null : choice]);
    const opened = createRowBatch(
      (modelOf) => createDecoder(own, { batch: maxBatch, modelOf }),
      select,
      keepsTexts,
      imageTokens,
    );
    batches.set(key, opened);
    return opened;
  };

  const readers = new WeakMap<DecodableModel, ReadImages>();
  const imagesOf = async ({ inputIds, pixelValues }: GenerationRequest, own: DecodableModel) => {
    if (!pixelValues) return undefined;
    const read = readers.get(own) ?? createReadImages(own);
    readers.set(own, read);
    return read(inputIds, pixelValues);
  };

  const running = () => [...batches.values()].reduce((sum, batch) => sum + batch.running, 0);
  /** Bytes of all caches, with another request in one of them. */
  const bytesWith = (joined: RowBatch, positions: number) =>
    [...batches.values()].reduce(
      (sum, batch) => sum + batch.cacheBytes(batch === joined ? positions : 0),
      0,
    );

  /** Lets in who is first in the queue, as long as there is room. */
  const admit = async () => {
    while (waiting.length > 0 && running() < maxBatch) {
      const { request, answer, positions } = waiting[0]!;
      try {
        if (!answer.isOver) {
          const { adapter = null } = request;
          const own = await select([adapter]);
          checkGeneration([request.inputIds], request, textContext(own));
          const batch = await batchOf(adapter);
          const bytes = bytesWith(batch, positions);
          if (bytes > cacheBytes && running() > 0) return;
          if (bytes > cacheBytes) throw tooLarge(positions, bytes, cacheBytes);
          batch.join(answer, adapter, positions, await imagesOf(request, own));
        }
      } catch (error) {
        answer.fail(error);
      }
      waiting.shift();
    }
  };
  const round = async () => {
    for (const [key, batch] of batches) {
      batch.leave();
      if (key !== "" && batch.running === 0) batches.delete(key);
    }
    await admit();
    for (const batch of batches.values()) await batch.advance();
  };
  const run = async () => {
    if (isRunning) return;
    isRunning = true;
    // All that is submitted at once is there when the first round begins.
    await undefined;
    try {
      while (waiting.length > 0 || running() > 0) await inTurn(round);
    } catch (error) {
      for (const { answer } of waiting.splice(0)) answer.fail(error);
      for (const batch of batches.values()) batch.fail(error);
    } finally {
      isRunning = false;
    }
  };

  return {
    get running() {
      return running();
    },
    get waiting() {
      return waiting.length;
    },
    submit(request) {
      const { inputIds, maxNewTokens = DEFAULT_NEW_TOKENS, stream = 0 } = request;
      const answer = startReply(model, inputIds, request, tokenizer, stream);
      try {
        prepareText(request, tokenizer);
        checkGeneration([inputIds], request, model.architecture.dimensions.maximumPositions);
        checkBatch({ inputIds: [inputIds] }, model.architecture.dimensions.vocabularySize);
        if (request.adapter != null && !adapters) throw noAdapters(request.adapter);
        waiting.push({ request, answer, positions: inputIds.length + maxNewTokens });
      } catch (error) {
        answer.fail(error);
      }
      void run();
      return answer.reply;
    },
  };
}

function checkCount(maxBatch: number): void {
  if (Number.isInteger(maxBatch) && maxBatch >= 1) return;
  throw new TunesmithError("config", {
    where: "generate: maxBatch",
    rule: "a whole number of at least 1",
    seen: String(maxBatch),
    fix: "correct it",
  });
}

const megabytes = (bytes: number) => `${Math.ceil(bytes / 2 ** 20)} MiB`;

const tooLarge = (positions: number, bytes: number, most: number) =>
  new TunesmithError("config", {
    where: "generate: cacheBytes",
    rule: "keys and values of a single request fit into what all may take",
    seen: `${positions} tokens, which take ${megabytes(bytes)} of ${megabytes(most)}`,
    fix: "lower maxNewTokens, shorten the prompt, or raise cacheBytes",
  });

const noAdapters = (adapter: AdapterChoice) =>
  new TunesmithError("config", {
    where: "generate: adapter",
    rule: "an adapter is chosen on a model that adapters were loaded for",
    seen: JSON.stringify(adapter),
    fix: "leave adapter out",
  });
