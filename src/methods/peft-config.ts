// What the configurations of all PEFT methods have in common, and how one is read: missing keys take
// PEFT's defaults, keys that nobody knows are dropped, as PEFT does with a newer release's.

import { z } from "zod";
import { type Fault, TunesmithError } from "../errors.ts";
import { type JsonObject, PEFT_VERSION } from "../hub/index.ts";

/** What is passed through for PEFT without being acted on. */
export const foreign = z.json().default(null);

export const names = z.array(z.string());

/** Module names, or one regular expression. */
export const modules = z.union([names, z.string()]).nullable().default(null);

export const layerNumbers = z
  .union([z.array(z.int().nonnegative()), z.int().nonnegative()])
  .nullable()
  .default(null);

/** The keys that every PEFT configuration has, with PEFT's defaults. */
export const commonKeys = {
  auto_mapping: foreign,
  base_model_name_or_path: z.string().nullable().default(null),
  inference_mode: z.boolean().default(false),
  peft_version: z.string().default(PEFT_VERSION),
  revision: z.string().nullable().default(null),
  task_type: z.string().nullable().default(null),
};

/**
 * A configuration with every key of `schema`.
 * @param where what to name in faults: the file, or what the values were made from
 * @throws TunesmithError (checkpoint) with every value that PEFT does not allow
 */
export function parsePeftConfig<Schema extends z.ZodObject>(
  schema: Schema,
  config: JsonObject,
  where: string,
): z.output<Schema> {
  const result = schema.safeParse(config);
  if (result.success) return result.data;
  const faults: Fault[] = result.error.issues.map((issue) => ({
    where: `${where} (${issue.path.join(".")})`,
    rule: "the key must have a value that PEFT allows",
    seen: issue.message,
    fix: "correct the value, or leave the key out for its default",
  }));
  throw new TunesmithError("checkpoint", faults);
}
