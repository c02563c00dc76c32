// Command lines of the benchmarks: a wrong flag ends in one line, not in a stack trace.

/** Prints `usage` where --help asks for it; else what `read` makes of the flags; ends the process where it throws a TypeError or RangeError. */
export function flagsOrExit<T>(usage: string, read: () => T): T {
  if (process.argv.slice(2).some((word) => word === "--help" || word === "-h")) {
    process.stdout.write(`usage: ${usage}\n`);
    process.exit(0);
  }
  try {
    return read();
  } catch (error) {
    if (!(error instanceof TypeError || error instanceof RangeError)) throw error;
    process.stderr.write(`bench: ${error.message}\n`);
    process.exit(1);
  }
}
