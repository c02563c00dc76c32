// Shows what went wrong: the four parts of each fault, or one line for what nobody foresaw. A stack
// trace is for those who ask for it (TUNESMITH_DEBUG=1).

import { TunesmithError } from "../errors.ts";
import type { Console } from "./console.ts";

/** Writes an error to the console's error side. */
export function showError(error: unknown, console: Console): void {
  const { errColors: colors } = console;
  if (error instanceof TunesmithError) {
    for (const { where, rule, seen, fix } of error.faults)
      console.err(
        `${colors.red("✗")} ${colors.bold(where)}: ${rule}\n` +
          `    ${colors.dim("saw")}  ${seen}\n` +
          `    ${colors.dim("fix")}  ${colors.green(fix)}\n`,
      );
    if (error.faults.length > 1) console.err(`${error.faults.length} faults\n`);
  } else {
    const message = error instanceof Error ? error.message : String(error);
    console.err(
      `${colors.red("✗")} ${colors.bold("tunesmith")}: an error that it did not expect\n` +
        `    ${colors.dim("saw")}  ${message.split("\n")[0]}\n` +
        `    ${colors.dim("fix")}  ${colors.green("run it again with TUNESMITH_DEBUG=1 and report what it shows")}\n`,
    );
  }
  if (process.env.TUNESMITH_DEBUG) console.err(`${stackOf(error)}\n`);
}

function stackOf(error: unknown): string {
  if (!(error instanceof Error)) return "";
  const cause = error.cause === undefined ? "" : `\ncaused by: ${stackOf(error.cause)}`;
  return `${error.stack ?? error.message}${cause}`;
}

/** An error as JSON, for programs that read `--json` output. */
export function errorAsJson(error: unknown): string {
  const content =
    error instanceof TunesmithError
      ? { code: error.code, faults: error.faults }
      : { code: "unexpected", message: error instanceof Error ? error.message : String(error) };
  return `${JSON.stringify({ error: content })}\n`;
}
