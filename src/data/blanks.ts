// Texts as blanks to fill, for models that were trained so (GLM, Du et al. 2022; GLM-130B, Zeng et al. 2023):
// a context with a blank in it, and behind it what fills the blank, which alone is trained on. The layouts
// are those of the published code, which Du et al. describe in section 2.1.

import { IGNORED_LABEL } from "../engine/batch.ts";
import { contextOf, positionIn } from "../engine/row-context.ts";
import type { BlankTokens } from "../models/index.ts";
import type { Random } from "../runtime/random.ts";
import type { Sample } from "./sample.ts";

type BlankSample = Pick<Sample, "inputIds" | "labels" | "contextLength" | "positionIds">;

/**
 * The prompt as a context, and the token that starts to fill its blank: the first [MASK] in it, otherwise
 * a [gMASK] at its end. Behind a text that does not end in a blank comes the end-of-text token, where there
 * is one.
 */
export function openBlank(
  prompt: readonly number[],
  { mask, generationMask, start }: BlankTokens,
  endOfText: number | undefined,
): number[] {
  if (prompt.includes(start)) return [...prompt];
  const masks = [mask, generationMask];
  const blanked = prompt.some((id) => masks.includes(id)) ? prompt : [...prompt, generationMask];
  const isWithin = !masks.includes(blanked.at(-1)!) && blanked.at(-1) !== endOfText;
  return [...blanked, ...(isWithin && endOfText !== undefined ? [endOfText] : []), start];
}

/** A prompt and what fills its blank, which ends with the token of that. */
export function answeredBlank(
  prompt: readonly number[],
  answer: readonly number[],
  tokens: BlankTokens,
  endOfText: number | undefined,
): BlankSample {
  const opened = openBlank(prompt, tokens, endOfText);
  const { end } = tokens;
  const target = answer.at(-1) === end ? answer : [...answer, end];
  const inputIds = [...opened, ...target];
  const context = contextOf(inputIds, tokens)!;
  return {
    inputIds,
    labels: [...opened.map(() => IGNORED_LABEL), ...target],
    contextLength: context.length,
    ...(context.position !== undefined && {
      positionIds: inputIds.map((_, index) => positionIn(context, index)),
    }),
  };
}

/** The share of texts that learn short blanks, and of their tokens that these hold (Zeng et al., 2.2). */
const SHORT_SHARE = 0.3;
const BLANKED_SHARE = 0.15;
/** Mean of the Poisson distribution that lengths of short blanks come from, without 0; Du et al., 2.1. */
const MEAN_LENGTH = 3;
const LONGEST = 40;

const shortBlanks = (length: number) =>
  Math.max(1, Math.floor((BLANKED_SHARE / MEAN_LENGTH) * length));

/** How many tokens a text may have, so that it fits into `maxLength` with its blanks: two more each, and an end. */
export const roomForText = (maxLength: number): number => {
  let length = maxLength;
  while (length > 1 && length + 2 * shortBlanks(length) + 1 > maxLength) length--;
  return length;
};

/**
 * A text with blanks that `random` chooses: in a part of the texts short ones, each filled for itself, in
 * an order of their own; in the others all that follows somewhere.
 */
export function blankedText(
  text: readonly number[],
  tokens: BlankTokens,
  endOfText: number | undefined,
  random: Random,
): BlankSample {
  // The end of a text is not guessed from both sides.
  const length = text.at(-1) === endOfText ? text.length - 1 : text.length;
  const isShort = random.uniform() < SHORT_SHARE;
  return isShort && length > 1
    ? withShortBlanks(text, random.shuffle(chooseSpans(length, random)), tokens)
    : withLongBlank(text, tokens, random);
}

/** Each length from one token to all but one is as likely as any other. */
function withLongBlank(
  text: readonly number[],
  { generationMask, start }: BlankTokens,
  random: Random,
): BlankSample {
  const context = text.length < 2 ? 0 : 1 + random.below(text.length - 1);
  const opened = [...text.slice(0, context), generationMask, start];
  const rest = text.slice(context);
  return {
    inputIds: [...opened, ...rest],
    labels: [...opened.map(() => IGNORED_LABEL), ...rest],
    contextLength: context + 1,
  };
}

/** Tokens of a text from `start` to `end`, which is not one of them. */
export interface Span {
  readonly start: number;
  readonly end: number;
}

/**
 * A text with a short blank for each span, and what fills them.
 * @param spans in the order in which they are filled
 */
export function withShortBlanks(
  text: readonly number[],
  spans: readonly Span[],
  { mask, start, end }: BlankTokens,
): BlankSample {
  const context: number[] = [];
  const places = new Map<Span, number>();
  let read = 0;
  for (const span of [...spans].sort((a, b) => a.start - b.start)) {
    context.push(...text.slice(read, span.start));
    places.set(span, context.length);
    context.push(mask);
    read = span.end;
  }
  context.push(...text.slice(read));

  const inputIds = [...context];
  const labels = context.map(() => IGNORED_LABEL);
  const positionIds = [...context.keys()];
  for (const span of spans) {
    const filling = text.slice(span.start, span.end);
    inputIds.push(start, ...filling);
    // The end of a filling is predicted and not read: the next one starts in its place.
    labels.push(span === spans[0] ? IGNORED_LABEL : end, ...filling);
    positionIds.push(...new Array<number>(filling.length + 1).fill(places.get(span)!));
  }
  inputIds.push(end);
  labels.push(end);
  positionIds.push(positionIds.at(-1)!);
  return { inputIds, labels, contextLength: context.length, positionIds };
}

/** Spans in their order, a token at least between two. */
function chooseSpans(length: number, random: Random): Span[] {
  const wanted = Math.max(1, Math.floor(BLANKED_SHARE * length));
  const most = shortBlanks(length);
  const lengths: number[] = [];
  let [blanked, room] = [0, length - 1];
  while (blanked < wanted && lengths.length < most && room > 0) {
    const chosen = Math.min(poisson(random), room);
    lengths.push(chosen);
    blanked += chosen;
    room -= chosen + 1;
  }
  const free = length - blanked - (lengths.length - 1);
  const places = lengths.map(() => random.below(free + 1)).sort((a, b) => a - b);
  let before = 0;
  return lengths.map((own, index) => {
    const start = places[index]! + before;
    before += own + 1;
    return { start, end: start + own };
  });
}

/** Chances of the lengths 1, 2, …, not yet divided by their sum: λ^k / k!. */
const CHANCES: readonly number[] = (() => {
  const chances = [MEAN_LENGTH];
  while (chances.length < LONGEST)
    chances.push((chances.at(-1)! * MEAN_LENGTH) / (chances.length + 1));
  return chances;
})();
const ALL_CHANCES = CHANCES.reduce((sum, chance) => sum + chance, 0);

function poisson(random: Random): number {
  let left = random.uniform() * ALL_CHANCES;
  const index = CHANCES.findIndex((chance) => {
    left -= chance;
    return left < 0;
  });
  return index < 0 ? LONGEST : index + 1;
}
