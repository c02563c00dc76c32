// Every key of a recipe as one flat list, read off the schema: what the override flags accept, what
// a misspelt key is compared with, what `tunesmith init` comments and what the docs tabulate.

import { z } from "zod";
import { recipeSchema, SHORTHANDS } from "./schema.ts";

/** What the schema says of a key, wherever it stands. */
export interface KeyFacts {
  /** For people: `integer`, `"adamw" | "sgd"`, `list of string`. */
  readonly type: string;
  readonly description: string;
  /** The fixed default; undefined where there is none. */
  readonly default: unknown;
  /** How the value is found where there is no fixed default. */
  readonly derived?: string;
}

export interface RecipeKey extends KeyFacts {
  /** Dotted, such as "train.learningRate". */
  readonly path: string;
  readonly section: string;
  readonly required: boolean;
  /** The section's `name` that has this key, where only one has it (`lora`). */
  readonly variant?: string;
}

export type Schema = z.core.JSONSchema.BaseSchema;

/** What a recipe may be, sections written in full. */
export const recipeSchemaAsJson = (): Schema =>
  z.toJSONSchema(recipeSchema, { io: "input" }) as Schema;

/** The recipe's JSON Schema (draft 2020-12), with the one-word form of sections allowed. */
export function recipeJsonSchema(): Schema {
  const schema = recipeSchemaAsJson();
  const properties = { ...schema.properties };
  for (const section of Object.keys(SHORTHANDS)) {
    const { description, ...rest } = properties[section] as Schema;
    properties[section] = { description, anyOf: [{ type: "string" }, rest] };
  }
  return { ...schema, title: "tunesmith recipe", properties };
}

/** All keys in the schema's order. */
export function recipeKeys(): RecipeKey[] {
  const schema = recipeSchemaAsJson();
  return Object.entries(schema.properties ?? {}).flatMap(([section, value]) =>
    keysOf(section, section, value as Schema, schema.required?.includes(section) ?? false),
  );
}

/** What the sections are for, in the schema's order. */
export function recipeSections(): { name: string; description: string; keys: RecipeKey[] }[] {
  const schema = recipeSchemaAsJson();
  const keys = recipeKeys();
  return Object.entries(schema.properties ?? {}).map(([name, value]) => ({
    name,
    description: (value as Schema).description ?? "",
    keys: keys.filter((key) => key.section === name),
  }));
}

function keysOf(
  section: string,
  path: string,
  schema: Schema,
  required: boolean,
  variant?: string,
): RecipeKey[] {
  const variants = (schema.oneOf ?? schema.anyOf)?.map((each) => each as Schema);
  if (variants?.every((each) => each.properties !== undefined))
    return variants.flatMap((each) =>
      keysOf(section, path, each, required, String(constantOf(each.properties?.name))),
    );
  if (schema.properties !== undefined)
    return Object.entries(schema.properties).flatMap(([name, value]) =>
      keysOf(
        section,
        `${path}.${name}`,
        value as Schema,
        required && (schema.required?.includes(name) ?? false),
        variant,
      ),
    );
  return [
    {
      path,
      section,
      ...keyFacts(schema),
      required,
      ...(variant === undefined ? {} : { variant }),
    },
  ];
}

export const keyFacts = (schema: Schema): KeyFacts => ({
  type: typeText(schema),
  description: schema.description ?? "",
  default: schema.default,
  ...(typeof schema.derived === "string" ? { derived: schema.derived } : {}),
});

function constantOf(schema: unknown): unknown {
  return (schema as Schema | undefined)?.const;
}

function typeText(schema: Schema): string {
  const options = schema.anyOf ?? schema.oneOf;
  if (options !== undefined) return options.map((each) => typeText(each as Schema)).join(" | ");
  if (schema.const !== undefined) return JSON.stringify(schema.const);
  // A pattern of words is named by its title.
  if (schema.title !== undefined && schema.pattern !== undefined) return `"${schema.title}"`;
  if (schema.enum !== undefined) return schema.enum.map((each) => JSON.stringify(each)).join(" | ");
  if (schema.prefixItems !== undefined)
    return `[${schema.prefixItems.map((each) => typeText(each as Schema)).join(", ")}]`;
  if (schema.type === "array") return `list of ${typeText(schema.items as Schema)}`;
  if (schema.type === "object") return `map of ${typeText(schema.additionalProperties as Schema)}`;
  return String(schema.type ?? "any");
}
