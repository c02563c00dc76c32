// Pieces of the schemas in which methods describe their options. A schema is a method's section of the
// recipe: types, defaults and documentation come from it, and a key without a default says how it is
// derived.

import { z } from "zod";
import { type Fault, TunesmithError } from "../errors.ts";

/** Notes how a key that has no fixed default gets its value; shown wherever a default would be. */
export const derived = (how: string) => ({ derived: how });

export const count = z.int().min(1);
export const moduleNames = z.array(z.string());

/** The keys by which a method says which linear modules it changes. */
export const targetKeys = {
  targets: z
    .union([z.string(), moduleNames.min(1)])
    .default("all-linear")
    .describe("Layers that are adapted: names such as [q_proj, v_proj], a regex, or all-linear."),
  exclude: z
    .union([z.string(), moduleNames])
    .default([])
    .describe("Layers that are left alone, as names or a regex."),
  layersToTransform: z
    .array(z.int().min(0))
    .min(1)
    .optional()
    .describe("Only these layer numbers, from 0.")
    .meta(derived("all layers")),
};

/**
 * Options with their defaults, for methods whose library options are those of the recipe.
 * @throws TunesmithError (config) with every value that the schema does not allow
 */
export function completeOptions<Schema extends z.ZodObject>(
  schema: Schema,
  options: z.input<Schema>,
): z.output<Schema> {
  const result = schema.safeParse(options);
  if (result.success) return result.data;
  const faults: Fault[] = result.error.issues.map((issue) => ({
    where: ["method", ...issue.path].join("."),
    rule: "the option must have a value that its method allows",
    seen: issue.message,
    fix: "correct the value, or leave the option out for its default",
  }));
  throw new TunesmithError("config", faults);
}
