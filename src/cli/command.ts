// The shape of a command: a commander command built from one description, so that every command has
// the same help, the same way to fail and the same exit codes.

import { Command } from "commander";
import type { Override } from "../recipe/overrides.ts";
import type { Console } from "./console.ts";

/** What a command's action gets besides its own arguments and options. */
export interface Context {
  readonly console: Console;
  /** Recipe keys set by flags (`--train.epochs 2`). */
  readonly overrides: readonly Override[];
  /** What the process ends with when the action does not throw; 0 unless set. */
  exitCode: number;
}

export interface Description {
  /** The name with its arguments, as commander has them: `train <recipe>`. */
  readonly usage: string;
  readonly summary: string;
  /** Longer words for `--help`; what the command reads, writes and leaves behind. */
  readonly details?: string;
  /** Each argument's meaning, by name. */
  readonly arguments?: Readonly<Record<string, string>>;
  /** Rows of [flags, meaning, default]. */
  readonly options?: readonly (readonly [flags: string, meaning: string, fallback?: string])[];
  /** Rows of [what to type, what it does]. */
  readonly examples: readonly (readonly [command: string, meaning: string])[];
  /** Whether any recipe key may be given as a flag. */
  readonly takesOverrides?: boolean;
}

/** Builds a command without its action. */
export function describeCommand(description: Description): Command {
  const [name, ...args] = description.usage.split(" ");
  const command = new Command(name).summary(description.summary);
  command.description([description.summary, description.details].filter(Boolean).join("\n\n"));
  for (const argument of args)
    command.argument(argument, description.arguments?.[argument.replace(/[<>[\].]/g, "")]);
  for (const [flags, meaning, fallback] of description.options ?? [])
    command.option(flags, meaning, fallback);
  const width = Math.max(...description.examples.map(([example]) => example.length));
  const examples = description.examples
    .map(([example, meaning]) => `  ${example.padEnd(width)}  ${meaning}\n`)
    .join("");
  const overrides = description.takesOverrides
    ? "\nEvery key of the recipe is a flag too, as in --train.epochs 2 (tunesmith init --all --method NAME shows them).\n"
    : "";
  return command.addHelpText("after", `${overrides}\nExamples:\n${examples}`);
}
