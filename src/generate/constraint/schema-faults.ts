// What is wrong in a schema, told by its place: all of it at once.

import { type Fault, TunesmithError } from "../../errors.ts";
import type { JsonSchema } from "./schema-keywords.ts";

export interface SchemaFaults {
  /** The schema's file or option, and the place in it as a JSON pointer. */
  placeOf(part: JsonSchema): string;
  /** A schema that was made of others is told by the place of one of them. */
  locate(made: JsonSchema, original: JsonSchema): void;
  add(...found: readonly Fault[]): void;
  /** Notes that a keyword of a schema cannot be kept to. */
  note(part: JsonSchema, keyword: string, rule: string, seen: string, fix: string): void;
  /** What `make` makes, or `otherwise` where it finds faults. */
  caught<T>(make: () => T, otherwise: T): T;
  /** @throws TunesmithError (config) with every fault there is */
  throwAny(): void;
}

/** @param where the schema's file or option */
export function createSchemaFaults(schema: JsonSchema, where: string): SchemaFaults {
  const faults = new Map<string, Fault>();
  const places = new Map<unknown, string>();
  notePlaces(schema, "#", places);
  const placeOf = (part: JsonSchema) => `${where}${places.get(part) ?? "#"}`;
  const add = (...found: readonly Fault[]) => {
    for (const each of found) faults.set(`${each.where} ${each.rule}`, each);
  };
  return {
    placeOf,
    locate: (made, original) => places.set(made, places.get(original) ?? "#"),
    add,
    note: (part, keyword, rule, seen, fix) =>
      add({ where: `${placeOf(part)}/${keyword}`, rule, seen, fix }),
    caught(make, otherwise) {
      try {
        return make();
      } catch (error) {
        if (!(error instanceof TunesmithError)) throw error;
        add(...error.faults);
        return otherwise;
      }
    },
    throwAny() {
      if (faults.size > 0) throw new TunesmithError("config", [...faults.values()]);
    },
  };
}

/** Where each schema lies, as a JSON pointer. */
function notePlaces(value: unknown, place: string, places: Map<unknown, string>): void {
  if (typeof value !== "object" || value === null || places.has(value)) return;
  places.set(value, place);
  for (const [key, each] of Object.entries(value))
    notePlaces(each, `${place}/${key.replaceAll("~", "~0").replaceAll("/", "~1")}`, places);
}
