// Answers that a form allows, written without a model: every token that may come is as likely as any
// other, but for those that close something, so a walk gets where no model would go and comes to an end.

import { join } from "node:path";
import { loadTokenizerFolder, type Tokenizer } from "../../../hub/index.ts";
import { createRandom, type Random } from "../../../runtime/random.ts";
import { constrainAnswer } from "../answer-constraint.ts";
import { constraintOf, type ResponseFormat } from "../response-format.ts";

/** The embedded model's tokenizer: byte-level, 2,048 tokens. */
export const embedded: Tokenizer = await loadTokenizerFolder(
  join(import.meta.dirname, "../../../../assets/embedded-model"),
);

const MOST_TOKENS = 150;

/** Tokens that bring a text to its end: one of them is taken one time in three where it may come. */
const CLOSING = ['"', "}", "]", "<|im_end|>"].map((name) => embedded.tokenToId(name)!);

/** A text that fits, or undefined where the walk had not come to an end. */
export function randomAnswer(format: ResponseFormat, random: Random): string | undefined {
  const stop = embedded.eosTokenId!;
  const answer = constrainAnswer(constraintOf(format, embedded)!, new Set([stop]));
  const bytes: number[] = [];
  for (let tokens = 0; !answer.isComplete; tokens++) {
    if (tokens === MOST_TOKENS) return undefined;
    const scores = new Float32Array(embedded.vocabularySize);
    answer.restrict(scores);
    const isAllowed = (id: number) => scores[id] === 0;
    const closing = random.below(3) === 0 ? CLOSING.filter(isAllowed) : [];
    const allowed = closing.length > 0 ? closing : [...scores.keys()].filter(isAllowed);
    const id = allowed[random.below(allowed.length)]!;
    if (id === stop) break;
    answer.accept(id);
    bytes.push(...embedded.tokenBytes!(id)!);
  }
  return new TextDecoder("utf-8", { fatal: true }).decode(Uint8Array.from(bytes));
}

/** Texts of walks with seeds from 0 on; those that came to no end are left out. */
export function randomAnswers(format: ResponseFormat, walks: number): string[] {
  return Array.from({ length: walks }, (_, seed) =>
    randomAnswer(format, createRandom(seed)),
  ).filter((text) => text !== undefined);
}

/** Whether a form allows a text, byte by byte. */
export function fits(format: ResponseFormat, text: string): boolean {
  const { automaton } = constraintOf(format, embedded)!;
  let state = automaton.start;
  for (const byte of Buffer.from(text)) {
    state = automaton.next(state, automaton.classOf[byte]!);
    if (state < 0) return false;
  }
  return automaton.isAccepting(state);
}
