// What may stand at a place of a recipe, by the variants that it chose: methods have keys of one name that
// mean different things, and lists have parts with keys of their own.

import { type KeyPath, valueAt } from "./document.ts";
import { type KeyFacts, keyFacts, recipeSchemaAsJson, type Schema } from "./keys.ts";

/** What is said of the key at `path`; undefined for sections, and where nothing or several things are said. */
export function keyAt(path: KeyPath, data: unknown): KeyFacts | undefined {
  const [schema, ...others] = schemasAt(path, data);
  const isKey = schema?.description !== undefined && others.length === 0;
  return isKey && schema.properties === undefined && !hasVariants(schema)
    ? keyFacts(schema)
    : undefined;
}

/** The names that the map at `path` may have. */
export function namesAt(path: KeyPath, data: unknown): string[] {
  const value = valueAt(data, path);
  const maps = schemasAt(path, data).flatMap((schema) => chosen(schema, value));
  return [...new Set(maps.flatMap(({ properties }) => Object.keys(properties ?? {})))];
}

function schemasAt(path: KeyPath, data: unknown): Schema[] {
  return path.reduce<Schema[]>(
    (schemas, step, depth) => {
      const value = valueAt(data, path.slice(0, depth));
      return schemas.flatMap((schema) => chosen(schema, value)).flatMap((map) => below(map, step));
    },
    [recipeSchemaAsJson()],
  );
}

function below(schema: Schema, step: string | number): Schema[] {
  const found =
    typeof step === "number"
      ? schema.items
      : (schema.properties?.[step] ?? schema.additionalProperties);
  return typeof found === "object" ? [found as Schema] : [];
}

const optionsOf = (schema: Schema): Schema[] | undefined =>
  (schema.oneOf ?? schema.anyOf) as Schema[] | undefined;

const hasVariants = (schema: Schema): boolean =>
  optionsOf(schema)?.every(({ properties }) => properties !== undefined) ?? false;

/** The options whose constants are those of the value, such as a method's name; all where none are. */
function chosen(schema: Schema, value: unknown): Schema[] {
  const options = optionsOf(schema);
  if (options === undefined) return [schema];
  const fitting = options.filter(({ properties }) =>
    Object.entries(properties ?? {}).every(([name, property]) => {
      const { const: constant } = property as Schema;
      return constant === undefined || constant === valueAt(value, [name]);
    }),
  );
  return fitting.length > 0 ? fitting : options;
}
