// Time, speed and memory of a run.

import type { BatchGroup } from "./batch-groups.ts";
import { countTokensOf } from "./batch-groups.ts";

export interface RunClock {
  /** Time spent on the run, earlier processes included. */
  seconds(): number;
  /** An estimate from this process's pace, evaluations and checkpoints included. */
  secondsLeft(step: number): number | undefined;
}

/** Starts the clock of a run that already took `seconds` for `step` steps. */
export function startClock(
  { seconds, step: firstStep }: { readonly seconds: number; readonly step: number },
  totalSteps?: number,
): RunClock {
  const startedAt = performance.now();
  const elapsed = () => (performance.now() - startedAt) / 1000;
  return {
    seconds: () => seconds + elapsed(),
    secondsLeft(step) {
      if (totalSteps === undefined || step <= firstStep) return undefined;
      return (elapsed() / (step - firstStep)) * (totalSteps - step);
    },
  };
}

/** Tokens of a group that are not padding, per second since `startedAt` (`performance.now()`). */
export function tokensPerSecond(group: BatchGroup, startedAt: number): number {
  const tokens = group.batches.reduce((sum, batch) => sum + countTokensOf(batch), 0);
  return tokens / Math.max(1e-6, (performance.now() - startedAt) / 1000);
}

/** The largest resident memory that this process has had. */
export function peakMemoryBytes(): number {
  return process.resourceUsage().maxRSS * 1024;
}
