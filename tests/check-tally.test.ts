// The counting behind `npm run check`: it must not be able to turn a failure into a pass.

import { expect, it } from "vitest";
import { tallyReport } from "../scripts/check-tally.ts";

const report = (numPassedTests: number, numFailedTests: number) =>
  JSON.stringify({ numPassedTests, numFailedTests });

it("counts tests", () => {
  expect(tallyReport(report(7, 0), true)).toEqual({ passed: 7, failed: 0 });
  expect(tallyReport(report(7, 2), false)).toEqual({ passed: 7, failed: 2 });
});

it("fails without a report, without a test, and with a failure that no test shows", () => {
  expect(tallyReport(undefined, true).failed).toBe(1);
  expect(tallyReport(report(0, 0), true).failed).toBe(1);
  expect(tallyReport(report(7, 0), false).failed).toBe(1);
});
