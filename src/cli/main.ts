// The command line: reads it, starts the command, shows what went wrong. Commands load what they
// need when they run, so that `tunesmith --help` is there at once.

import { readFileSync } from "node:fs";
import { Command, CommanderError } from "commander";
import { TunesmithError } from "../errors.ts";
import type { Override } from "../recipe/overrides.ts";
import type { Context } from "./command.ts";
import { adapterCommand } from "./commands/adapter.ts";
import { chatCommand } from "./commands/chat.ts";
import { classifyCommand } from "./commands/classify.ts";
import { dataCommand } from "./commands/data.ts";
import { doctorCommand } from "./commands/doctor.ts";
import { evalCommand } from "./commands/eval.ts";
import { exportCommand } from "./commands/export.ts";
import { generateCommand } from "./commands/generate.ts";
import { initCommand } from "./commands/init.ts";
import { mergeCommand } from "./commands/merge.ts";
import { modelsCommand } from "./commands/models.ts";
import { planCommand } from "./commands/plan.ts";
import { trainCommand } from "./commands/train.ts";
import { type Console, processConsole } from "./console.ts";
import { errorAsJson, showError } from "./show-error.ts";
import { usageFault } from "./usage-fault.ts";

const COMMANDS = [
  initCommand,
  planCommand,
  trainCommand,
  evalCommand,
  generateCommand,
  chatCommand,
  classifyCommand,
  mergeCommand,
  exportCommand,
  adapterCommand,
  modelsCommand,
  dataCommand,
  doctorCommand,
];

/** Commands that take a recipe's keys as flags. */
const TAKES_OVERRIDES = new Set(["plan", "train", "eval", "data"]);

/**
 * Runs one command line (without `node` and the program) and returns the exit code: 0, 1 for a fault,
 * 130 after Ctrl-C.
 */
export async function main(
  args: readonly string[],
  console: Console = processConsole(),
): Promise<number> {
  try {
    const { rest, overrides } = await splitArguments(args);
    const context: Context = { console, overrides, exitCode: 0 };
    await runProgram(rest, context);
    return context.exitCode;
  } catch (error) {
    if (args.includes("--json")) console.out(errorAsJson(error));
    else showError(error, console);
    return 1;
  }
}

async function runProgram(args: readonly string[], context: Context): Promise<void> {
  const program = createProgram(context);
  let current: Command = program;
  for (const command of allCommands(program)) {
    command.exitOverride();
    command.configureOutput({
      writeOut: (text) => context.console.out(text),
      // What commander would say is said in four parts by usageFault.
      writeErr: () => {},
    });
    command.hook("preSubcommand", (_, next) => {
      current = next;
    });
  }
  try {
    await program.parseAsync(args.length === 0 ? ["--help"] : [...args], { from: "user" });
  } catch (error) {
    if (!(error instanceof CommanderError)) throw error;
    if (error.code === "commander.help" && error.exitCode !== 0) current.outputHelp();
    else if (error.exitCode !== 0) throw usageFault(error, current);
  }
}

function createProgram(context: Context): Command {
  const program = new Command("tunesmith")
    .description("Fine-tunes language models on this computer. No Python, no GPU needed.")
    .version(version(), "-V, --version", "show the version")
    .helpOption("-h, --help", "show help")
    // What stands behind a command is that command's: `models` and `models show` both have --json.
    .enablePositionalOptions()
    .addHelpText(
      "after",
      "\nExamples:\n" +
        "  tunesmith init                start a recipe\n" +
        "  tunesmith plan recipe.yaml    see what it would do, and what that costs\n" +
        "  tunesmith train recipe.yaml   do it\n",
    );
  for (const create of COMMANDS) program.addCommand(create(context));
  return program;
}

function allCommands(command: Command): Command[] {
  return [command, ...command.commands.flatMap(allCommands)];
}

async function splitArguments(
  args: readonly string[],
): Promise<{ rest: readonly string[]; overrides: readonly Override[] }> {
  if (!TAKES_OVERRIDES.has(args[0] ?? "")) return { rest: args, overrides: [] };
  const { splitOverrides } = await import("../recipe/overrides.ts");
  // `eval --model X --adapter Y` needs no recipe: there the words are options of the command.
  const { rest, overrides, faults } = splitOverrides(args, { sections: args[0] !== "eval" });
  if (faults.length > 0) throw new TunesmithError("config", faults);
  return { rest, overrides };
}

function version(): string {
  const file = new URL("../../package.json", import.meta.url);
  return (JSON.parse(readFileSync(file, "utf8")) as { version: string }).version;
}
