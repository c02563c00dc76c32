// The flags that hold an answer to a form: a JSON schema, a regular expression or a grammar.

import { readFile } from "node:fs/promises";
import type { Command } from "commander";
import { TunesmithError } from "../errors.ts";
import type { JsonSchema, ResponseFormat } from "../generate/index.ts";

export interface ResponseFormatFlags {
  readonly jsonSchema?: string;
  readonly regex?: string;
  readonly grammar?: string;
}

export function addResponseFormatOptions(command: Command): Command {
  return command
    .option("--json-schema <file>", "the answer is JSON that this schema describes")
    .option("--regex <pattern>", "the answer is a text that this regular expression matches")
    .option("--grammar <file>", "the answer is a text of this grammar (GBNF, as llama.cpp has it)");
}

/**
 * The form that the flags ask for, checked before a model is opened.
 *
 * @throws TunesmithError (config) for several of them, a file that cannot be read, and a form that no
 *   answer can be held to
 */
export async function readResponseFormat(
  flags: ResponseFormatFlags,
): Promise<ResponseFormat | undefined> {
  const { jsonSchema, regex, grammar } = flags;
  const given = Object.entries({
    "--json-schema": jsonSchema,
    "--regex": regex,
    "--grammar": grammar,
  });
  const named = given.filter(([, value]) => value !== undefined).map(([flag]) => flag);
  if (named.length > 1)
    throw new TunesmithError("config", {
      where: named.join(", "),
      rule: "an answer is held to one form",
      seen: `${named.length} of them`,
      fix: "leave all but one out",
    });
  const [format, where] = await formatOf(flags);
  if (format === undefined) return undefined;
  const { readFormat } = await import("../generate/constraint/response-format.ts");
  readFormat(format, where);
  return format;
}

/** The form, and where it comes from for errors. */
async function formatOf({
  jsonSchema,
  regex,
  grammar,
}: ResponseFormatFlags): Promise<[ResponseFormat | undefined, string]> {
  if (regex !== undefined) return [{ type: "regex", pattern: regex }, "--regex"];
  if (grammar !== undefined)
    return [{ type: "grammar", grammar: await readText(grammar, "--grammar") }, grammar];
  if (jsonSchema === undefined) return [undefined, ""];
  const schema = parse(await readText(jsonSchema, "--json-schema"), jsonSchema);
  return [{ type: "json_schema", schema }, jsonSchema];
}

function parse(text: string, file: string): JsonSchema {
  try {
    const schema: unknown = JSON.parse(text);
    if (typeof schema === "boolean" || (typeof schema === "object" && schema !== null))
      return schema as JsonSchema;
    throw new Error(`${text.trim().slice(0, 40)}, which is no object`);
  } catch (error) {
    throw new TunesmithError(
      "config",
      {
        where: file,
        rule: "a schema is a JSON object",
        seen: (error as Error).message.split("\n")[0]!,
        fix: "correct the file",
      },
      { cause: error },
    );
  }
}

async function readText(file: string, flag: string): Promise<string> {
  try {
    return await readFile(file, "utf8");
  } catch (error) {
    throw new TunesmithError(
      "config",
      {
        where: flag,
        rule: "the file can be read",
        seen: (error as Error).message,
        fix: "correct the path",
      },
      { cause: error },
    );
  }
}
