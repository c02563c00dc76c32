// Command lines of the benchmarks: a wrong flag ends in one line, not in a stack trace.

/** What `read` makes of the flags; ends the process where it throws a TypeError or RangeError. */
export function flagsOrExit<T>(read: () => T): T {
  try {
    return read();
  } catch (error) {
    if (!(error instanceof TypeError || error instanceof RangeError)) throw error;
    process.stderr.write(`bench: ${error.message}\n`);
    process.exit(1);
  }
}
