// The forms that an answer can be held to, and how each becomes a constraint on tokens. Names are those
// of OpenAI's `text.format`, with a pattern and a grammar beside the schema.

import { nearest, TunesmithError } from "../../errors.ts";
import type { Tokenizer } from "../../hub/index.ts";
import type { TokenConstraint } from "./answer-constraint.ts";
import { type Automaton, createAutomaton, DEAD } from "./automaton.ts";
import type { Expression } from "./expression.ts";
import { gbnfExpression } from "./gbnf.ts";
import { type JsonSchema, schemaExpression } from "./json-schema.ts";
import { buildNetwork } from "./network.ts";
import { regexExpression } from "./regex.ts";
import { createTokenMasks } from "./token-masks.ts";
import { spellTokens, type TokenSpellings } from "./token-spellings.ts";

export type ResponseFormat =
  /** Any text. */
  | { readonly type: "text" }
  /** A JSON object, whatever is in it. */
  | { readonly type: "json_object" }
  /** JSON that a schema describes. */
  | { readonly type: "json_schema"; readonly schema: JsonSchema }
  /** A text that a regular expression matches from its beginning to its end. */
  | { readonly type: "regex"; readonly pattern: string }
  /** A text of the rule `root` of a grammar in llama.cpp's notation. */
  | { readonly type: "grammar"; readonly grammar: string };

type Translations = {
  readonly [Type in ResponseFormat["type"]]: (
    format: Extract<ResponseFormat, { type: Type }>,
    where: string,
  ) => Expression | undefined;
};

const TRANSLATIONS: Translations = {
  text: () => undefined,
  json_object: (_, where) => schemaExpression({ type: "object" }, where),
  json_schema: ({ schema }, where) => schemaExpression(schema, where),
  regex: ({ pattern }, where) => regexExpression(pattern, { where }),
  grammar: ({ grammar }, where) => gbnfExpression(grammar, where),
};

const automata = new WeakMap<ResponseFormat, Automaton>();
const spelled = new WeakMap<Tokenizer, TokenSpellings>();
const constraints = new WeakMap<Tokenizer, WeakMap<ResponseFormat, TokenConstraint>>();

/**
 * What a form allows, byte by byte; undefined where it allows everything. A format is read once: an
 * object that is changed afterwards must be another one.
 *
 * @param where for errors: the option, or the file that the format comes from
 * @throws TunesmithError (config) for a format that cannot be read or kept to, or that no text has
 */
export function readFormat(
  format: ResponseFormat,
  where = "generate: responseFormat",
): Automaton | undefined {
  const known = automata.get(format);
  if (known) return known;
  if (!Object.hasOwn(TRANSLATIONS, format.type)) throw unknownType(format, where);
  const translate = TRANSLATIONS[format.type] as (
    each: ResponseFormat,
    where: string,
  ) => Expression | undefined;
  const expression = translate(format, where);
  if (expression === undefined) return undefined;
  const automaton = createAutomaton(buildNetwork(expression, where), where);
  if (automaton.start === DEAD) throw nothingFits(where);
  automata.set(format, automaton);
  return automaton;
}

/**
 * A form as a constraint on the tokens of one tokenizer; undefined where it allows every text. Both are
 * prepared once, so the next answer of the same format object begins at once.
 *
 * @throws TunesmithError (config) as above, and for a tokenizer whose tokens do not stand for bytes
 */
export function constraintOf(
  format: ResponseFormat,
  tokenizer: Tokenizer,
): TokenConstraint | undefined {
  const automaton = readFormat(format);
  if (automaton === undefined) return undefined;
  const ofTokenizer = constraints.get(tokenizer) ?? new WeakMap<ResponseFormat, TokenConstraint>();
  constraints.set(tokenizer, ofTokenizer);
  const known = ofTokenizer.get(format);
  if (known) return known;
  const spellings = spelled.get(tokenizer) ?? spellTokens(tokenizer);
  spelled.set(tokenizer, spellings);
  const constraint = { spellings, automaton, maskOf: createTokenMasks(spellings, automaton) };
  ofTokenizer.set(format, constraint);
  return constraint;
}

function unknownType(format: { readonly type: string }, where: string): TunesmithError {
  const types = Object.keys(TRANSLATIONS);
  const close = nearest(String(format.type), types);
  return new TunesmithError("config", {
    where,
    rule: `its type is one of ${types.join(", ")}`,
    seen: JSON.stringify(format.type) ?? "no type",
    fix: close ? `write ${close}` : 'for JSON: { type: "json_schema", schema: { … } }',
  });
}

const nothingFits = (where: string) =>
  new TunesmithError("config", {
    where,
    rule: "some answer fits",
    seen: "rules that no text can fulfil",
    fix: "look for a rule without an end, an empty set of characters, or bounds that exclude each other",
  });
