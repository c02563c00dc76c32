// Objects of a schema: which names may stand in them, and what belongs to each.

import type { JsonObject } from "../../hub/json-file.ts";
import { ANY_CHARACTER } from "./code-points.ts";
import { choice, type Expression, NOTHING, repeat } from "./expression.ts";
import { objectExpression } from "./json-objects.ts";
import { ANY_OF_TYPE, inString, member, quoted, spelled } from "./json-text.ts";
import { regexExpression } from "./regex.ts";
import { both, except } from "./regular.ts";
import type { JsonSchema } from "./schema-keywords.ts";
import type { SchemaReader, TypeReader } from "./schema-reader.ts";

interface NamePattern {
  /** Names that it matches, as they are spelled between quotes. */
  readonly names: Expression;
  readonly matches: (name: string) => boolean;
  readonly schema: JsonSchema;
}

export const readObject: TypeReader = (part, reader) => {
  const { faults } = reader;
  const named = (part.properties ?? {}) as Record<string, JsonSchema>;
  const required = new Set((part.required ?? []) as string[]);
  const names = [...new Set([...Object.keys(named), ...required])];
  const least = (part.minProperties ?? 0) as number;
  const most = (part.maxProperties ?? Number.POSITIVE_INFINITY) as number;
  // Without properties an object is any; with them, others come where the schema speaks of them.
  const isOpen = !("properties" in part || "patternProperties" in part);
  const unnamed = (part.additionalProperties ?? isOpen) as JsonSchema;
  const isBounded = least > 0 || most < Number.POSITIVE_INFINITY;
  const isPatterned = Object.keys(part.patternProperties ?? {}).length > 0;
  if (names.length === 0 && !isPatterned && !isBounded && unnamed === true)
    return ANY_OF_TYPE.object;

  // A name that is written twice is one property, so of those without a name here one counts.
  const countable = names.length + (unnamed !== false || isPatterned ? 1 : 0);
  if (least > Math.min(most, countable)) {
    faults.note(
      part,
      "minProperties",
      "so many properties can be counted: those that are named, and one besides",
      `${least}, of ${Math.min(most, countable)}`,
      "name more of them in properties, or lower it",
    );
    return NOTHING;
  }
  return faults.caught(() => {
    const patterns = readPatterns(part, reader);
    const fitting = (name: string): Expression => {
      const own = Object.hasOwn(named, name) ? [named[name]!] : [];
      const all = [
        ...own,
        ...patterns.filter((each) => each.matches(name)).map(({ schema }) => schema),
      ];
      return reader.ofAll(
        part,
        all.length > 0 ? all : [(part.additionalProperties ?? true) as JsonSchema],
      );
    };
    const properties = names.map((name) => ({
      name,
      value: fitting(name),
      required: required.has(name),
    }));
    const other = otherMember(part, names, patterns, unnamed, reader);
    return objectExpression({ properties, other, least, most });
  }, NOTHING);
};

/** @throws TunesmithError (config) for a pattern that no automaton can follow */
function readPatterns(part: JsonObject, { faults }: SchemaReader): NamePattern[] {
  const patterns = (part.patternProperties ?? {}) as Record<string, JsonSchema>;
  return Object.entries(patterns).map(([pattern, schema]) => {
    const where = `${faults.placeOf(part)}/patternProperties`;
    const names = regexExpression(pattern, { where, write: inString, searches: true });
    const matcher = new RegExp(pattern, "u");
    return { names, matches: (name) => matcher.test(name), schema };
  });
}

/** A member whose name is not listed: what its value is depends on the patterns that match the name. */
function otherMember(
  part: JsonObject,
  listed: readonly string[],
  patterns: readonly NamePattern[],
  unnamed: JsonSchema,
  { ofAll, faults }: SchemaReader,
): Expression | undefined {
  const where = faults.placeOf(part);
  const members: Expression[] = [];
  /** Names that some patterns match, and those that are left to look at may or may not. */
  const add = (names: Expression, matched: readonly JsonSchema[], left: readonly NamePattern[]) => {
    if (names === NOTHING) return;
    const [pattern, ...more] = left;
    if (pattern !== undefined) {
      add(both(names, pattern.names, where), [...matched, pattern.schema], more);
      add(except(names, pattern.names, where), matched, more);
    } else if (matched.length > 0 || unnamed !== false)
      members.push(member(quoted(names), ofAll(part, matched.length > 0 ? matched : [unnamed])));
  };
  if (unnamed === false && patterns.length === 0) return undefined;
  const anyName = repeat(inString(ANY_CHARACTER));
  // Each name has one spelling here: one that is spelled otherwise is the same name.
  const names =
    listed.length === 0 ? anyName : except(anyName, choice(...listed.map(spelled)), where);
  add(names, [], patterns);
  return choice(...members);
}
