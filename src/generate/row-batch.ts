// The rows of one decoder, and the requests that are answered in them: who joins takes a free row, who is
// at its end leaves it.

import type { AdapterChoice } from "../engine/adapters/adapter-set-contract.ts";
import type { DecodableModel, Decoder, ModelOfRows } from "../engine/decoding/decoder.ts";
import { commonPrefix } from "../hub/index.ts";
import type { ReplyInProgress } from "./reply.ts";

export interface RowBatch {
  /** Requests that are being answered. */
  readonly running: number;
  /** Bytes that the cache has for these requests, and for another of so many positions (0: none). */
  cacheBytes(positions: number): number;
  /**
   * Gives a request a row; there is a free one.
   * @param positions tokens that it may come to
   * @param images what the image tokens of its prompt give way to, [image rows, hidden]
   */
  join(
    answer: ReplyInProgress,
    adapter: AdapterChoice,
    positions: number,
    images?: Float32Array,
  ): void;
  /** Frees the rows of requests that are over. */
  leave(): void;
  /** Reads the prompts of those that joined, then makes a token for each of the others. */
  advance(): Promise<void>;
  /** Ends all requests with an error. */
  fail(error: unknown): void;
}

interface Row {
  readonly answer: ReplyInProgress;
  readonly adapter: AdapterChoice;
  readonly positions: number;
  /** Of the prompt. */
  readonly images?: Float32Array | undefined;
}

/** What a row keeps of a request that has left. */
interface KeptText extends Pick<Row, "adapter" | "images"> {
  readonly ids: readonly number[];
}

/** Of a model that looks at images: the token that gives way to a row of theirs, and numbers of that row. */
export interface ImageTokens {
  readonly token: number;
  readonly width: number;
}

/**
 * @param open makes the decoder
 * @param select the model for rows with these adapters
 * @param keepsTexts whether a prompt that begins like an earlier text, its images included, is read from where
 *   it differs
 */
export function createRowBatch(
  open: (modelOf: ModelOfRows) => Decoder,
  select: (adapters: readonly AdapterChoice[]) => Promise<DecodableModel>,
  keepsTexts: boolean,
  imageTokens?: ImageTokens,
): RowBatch {
  const rows = new Map<number, Row>();
  const kept = new Map<number, KeptText>();
  const decoder = open((asked) => {
    // A row that rests is computed with whatever the others have: that makes nothing new.
    const some = asked.find((row) => row !== undefined)!;
    return select(asked.map((row) => rows.get(row ?? some)!.adapter));
  });
  const free = () => [...new Array(decoder.batch).keys()].filter((row) => !rows.has(row));
  const positionsOf = () => [...rows.values()].map(({ positions }) => positions);

  const common = (row: number, { answer, adapter, images }: Row): number => {
    const before = kept.get(row);
    if (before?.adapter !== adapter) return 0;
    const length = commonPrefix(before.ids, answer.text);
    return imageTokens && (images || before.images)
      ? sameImages(answer.text.slice(0, length), before.images, images, imageTokens)
      : length;
  };
  /** Of a row's images, what the tokens that have yet to be read give way to. */
  const unreadImages = (row: number): Float32Array | undefined => {
    const { answer, images } = rows.get(row)!;
    if (!images || !imageTokens) return undefined;
    const read = answer.text.slice(0, decoder.lengths[row]);
    const rest = images.subarray(countOf(imageTokens.token, read) * imageTokens.width);
    return rest.length > 0 ? rest : undefined;
  };
  const readRows = async (
    fresh: ReadonlyMap<number, readonly number[]>,
    images: readonly (Float32Array | undefined)[] = [],
  ) => {
    if (fresh.size === 0) return;
    const all = Array.from({ length: decoder.batch }, (_, row) => fresh.get(row) ?? []);
    const logits = await decoder.append(all, images);
    for (const row of fresh.keys()) rows.get(row)!.answer.take(logits[row]!);
  };

  const batch: RowBatch = {
    get running() {
      return rows.size;
    },
    cacheBytes(positions) {
      const all = [...positionsOf(), ...(positions > 0 ? [positions] : [])];
      return all.length === 0 ? 0 : decoder.cacheBytes(all.length, Math.max(...all));
    },
    join(answer, adapter, positions, images) {
      const { text } = answer;
      const joined = { answer, adapter, positions, images };
      const shared = new Map(free().map((row) => [row, common(row, joined)]));
      const most = Math.max(...shared.values());
      const row = [...shared.keys()].find((one) => shared.get(one) === most)!;
      // At least the last token is read again: its logits are what comes next.
      decoder.truncate(row, Math.min(most, text.length - 1));
      kept.delete(row);
      rows.set(row, joined);
    },
    leave() {
      for (const [row, { answer, adapter, images }] of rows) {
        if (!answer.isOver) continue;
        rows.delete(row);
        if (keepsTexts)
          kept.set(row, { ids: answer.text.slice(0, decoder.lengths[row]), adapter, images });
        else decoder.truncate(row, 0);
      }
    },
    async advance() {
      if (rows.size === 0) return;
      await decoder.reserve(rows.size, Math.max(...positionsOf()));
      const { lengths } = decoder;
      const steps = new Map<number, readonly number[]>();
      for (const [row, { answer }] of rows) {
        const fresh = answer.text.slice(lengths[row]);
        const images = unreadImages(row);
        if (fresh.length === 1 && !images) steps.set(row, fresh);
        else {
          const ofRow: (Float32Array | undefined)[] = [];
          ofRow[row] = images;
          await readRows(new Map([[row, fresh]]), ofRow);
        }
      }
      await readRows(steps);
    },
    fail(error) {
      for (const { answer } of rows.values()) answer.fail(error);
      batch.leave();
    },
  };
  return batch;
}

/** How far a common text goes on with the same images: equal tokens may stand for other rows. */
function sameImages(
  text: readonly number[],
  before: Float32Array = new Float32Array(),
  images: Float32Array = new Float32Array(),
  { token, width }: ImageTokens,
): number {
  let at = 0;
  for (const [position, id] of text.entries()) {
    if (id !== token) continue;
    if (at >= before.length || at >= images.length) return position;
    for (const end = at + width; at < end; at++) if (before[at] !== images[at]) return position;
  }
  return text.length;
}

const countOf = (id: number, text: readonly number[]) =>
  text.reduce((count, one) => count + Number(one === id), 0);
