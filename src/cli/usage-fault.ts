// Turns what commander found wrong with a command line into the four parts of every other fault.

import type { Command, CommanderError } from "commander";
import { TunesmithError } from "../errors.ts";

const RULES: Readonly<Record<string, string>> = {
  "commander.unknownCommand": "the first word is a command",
  "commander.unknownOption": "a command has certain options only",
  "commander.missingArgument": "the command needs one more argument",
  "commander.excessArguments": "the command takes fewer arguments",
  "commander.optionMissingArgument": "the option needs a value",
  "commander.missingMandatoryOptionValue": "the command needs one more option",
};

/** The fault behind an error of commander's; `command` is the one that was being read. */
export function usageFault(error: CommanderError, command: Command): TunesmithError {
  const [sentence = "", suggestion] = error.message.replace(/^error: /, "").split("\n");
  const guess = /Did you mean (.+)\?/.exec(suggestion ?? "")?.[1];
  const path = pathOf(command);
  return new TunesmithError(
    "config",
    {
      where: path,
      rule: RULES[error.code] ?? "the command line must be one that the command knows",
      seen: sentence,
      fix: guess === undefined ? `see ${path} --help` : `write ${guess}`,
    },
    { cause: error },
  );
}

function pathOf(command: Command): string {
  const parent = command.parent;
  return parent === null ? command.name() : `${pathOf(parent)} ${command.name()}`;
}
