// Where a command writes, and what that place can show: colour and a line that is redrawn on a
// terminal, plain lines in a file or a pipe.

import picocolors from "picocolors";

export type Colors = ReturnType<typeof picocolors.createColors>;

/** What commands need of the outside world; tests pass their own. */
export interface Console {
  /** Results: what a person asked for, or JSON. */
  out(text: string): void;
  /** Everything else: progress, notes, errors. */
  err(text: string): void;
  readonly outColors: Colors;
  readonly errColors: Colors;
  /** Whether a line on `err` can be redrawn in place. */
  readonly isLive: boolean;
  /** Columns of the terminal; 80 where there is none. */
  readonly width: number;
}

/** The console of this process. */
export function processConsole(): Console {
  const { stdout, stderr, env } = process;
  // A reader that has seen enough (`| head`) closes the pipe; that is no fault.
  stdout.on("error", (error: NodeJS.ErrnoException) => {
    if (error.code !== "EPIPE") throw error;
    process.exit(0);
  });
  return {
    out: (text) => stdout.write(text),
    err: (text) => stderr.write(text),
    outColors: picocolors.createColors(hasColor(stdout)),
    errColors: picocolors.createColors(hasColor(stderr)),
    isLive: stderr.isTTY === true && env.TERM !== "dumb" && !env.CI,
    width: stderr.columns ?? 80,
  };
}

/** The conventions of no-color.org and FORCE_COLOR. */
function hasColor(stream: NodeJS.WriteStream): boolean {
  if (process.env.NO_COLOR) return false;
  if (process.env.FORCE_COLOR && process.env.FORCE_COLOR !== "0") return true;
  return stream.isTTY === true && process.env.TERM !== "dumb";
}
