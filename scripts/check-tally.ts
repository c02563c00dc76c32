// Counts what `npm run check` saw. A run that executed no test, or whose report is missing or
// says less than its exit code, counts as a failure.

export interface Tally {
  readonly passed: number;
  readonly failed: number;
}

/** One check that either passed or failed. */
export function tallyOf(succeeded: boolean): Tally {
  return succeeded ? { passed: 1, failed: 0 } : { passed: 0, failed: 1 };
}

/** The counts in Vitest's JSON report; `succeeded` is whether its exit code was 0. */
export function tallyReport(report: string | undefined, succeeded: boolean): Tally {
  if (report === undefined) return { passed: 0, failed: 1 };
  const { numPassedTests, numFailedTests } = JSON.parse(report) as {
    numPassedTests: number;
    numFailedTests: number;
  };
  const executed = numPassedTests + numFailedTests > 0;
  // A file that does not load fails the run without failing a test.
  const hidden = numFailedTests === 0 && (!succeeded || !executed) ? 1 : 0;
  return { passed: numPassedTests, failed: numFailedTests + hidden };
}
