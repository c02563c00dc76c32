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
  /** Aborted when nobody reads any more (`| head`, a closed terminal); writing is then without effect. */
  readonly closed: AbortSignal;
  readonly outColors: Colors;
  readonly errColors: Colors;
  /** Whether a line on `err` can be redrawn in place. */
  readonly isLive: boolean;
  /** Columns of the terminal; 80 where there is none. */
  readonly width: number;
}

/** A pipe without its reader, a terminal that is gone. */
const READER_GONE = new Set(["EPIPE", "EIO"]);

/** The console of this process. */
export function processConsole(): Console {
  const { stdout, stderr, env } = process;
  const closed = new AbortController();
  // A reader that has seen enough closes the pipe; that is no fault, and work in progress is saved.
  const onError = (error: NodeJS.ErrnoException) => {
    if (!READER_GONE.has(error.code ?? "")) throw error;
    closed.abort();
  };
  stdout.on("error", onError);
  stderr.on("error", onError);
  return {
    out: (text) => stdout.write(text),
    err: (text) => stderr.write(text),
    closed: closed.signal,
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
