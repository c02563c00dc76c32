// Every key of a recipe as one flat list, read off the schema: what the override flags accept, what
// a misspelt key is compared with, what `tunesmith init` comments and what the docs tabulate.

import { z } from "zod";
import { recipeSchema, SHORTHANDS } from "./schema.ts";

export interface RecipeKey {
  /** Dotted, such as "train.learningRate". */
  readonly path: string;
  readonly section: string;
  /** For people: `integer`, `"adamw" | "sgd"`, `list of string`. */
  readonly type: string;
  readonly description: string;
  readonly required: boolean;
  /** The fixed default; undefined where there is none. */
  readonly default: unknown;
  /** How the value is found where there is no fixed default. */
  readonly derived?: string;
  /** The section's `name` that has this key, where only one has it (`lora`). */
  readonly variant?: string;
}

type Schema = z.core.JSONSchema.BaseSchema;

/** The recipe's JSON Schema (draft 2020-12), with the one-word form of sections allowed. */
export function recipeJsonSchema(): Schema {
  const schema = z.toJSONSchema(recipeSchema, { io: "input" }) as Schema;
  const properties = { ...schema.properties };
  for (const section of Object.keys(SHORTHANDS)) {
    const { description, ...rest } = properties[section] as Schema;
    properties[section] = { description, anyOf: [{ type: "string" }, rest] };
  }
  return { ...schema, title: "tunesmith recipe", properties };
}

/** All keys in the schema's order. */
export function recipeKeys(): RecipeKey[] {
  const schema = z.toJSONSchema(recipeSchema, { io: "input" }) as Schema;
  return Object.entries(schema.properties ?? {}).flatMap(([section, value]) =>
    keysOf(section, section, value as Schema, schema.required?.includes(section) ?? false),
  );
}

/** What the sections are for, in the schema's order. */
export function recipeSections(): { name: string; description: string; keys: RecipeKey[] }[] {
  const schema = z.toJSONSchema(recipeSchema, { io: "input" }) as Schema;
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
      type: typeText(schema),
      description: schema.description ?? "",
      required,
      default: schema.default,
      ...(typeof schema.derived === "string" ? { derived: schema.derived } : {}),
      ...(variant === undefined ? {} : { variant }),
    },
  ];
}

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
