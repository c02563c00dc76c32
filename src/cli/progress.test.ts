// A run as a person watches it, on a terminal and in a log.

import { expect, it } from "vitest";
import type { StepFinished } from "../train/events.ts";
import { createProgress } from "./progress.ts";
import { testConsole } from "./testing/test-console.ts";

const step = (number: number, loss: number): StepFinished => ({
  type: "step-finished",
  step: number,
  totalSteps: 3,
  epoch: 0,
  loss,
  learningRate: 1e-4,
  gradientNorm: 1,
  tokensPerSecond: 812.4,
  targetTokens: 10,
  secondsLeft: 130,
  peakMemoryBytes: 1.2e9,
});

it("redraws one line on a terminal and keeps what matters above it", () => {
  const console = testConsole({ isLive: true });
  const progress = createProgress(console);
  progress.show(step(1, 2));
  progress.show({
    type: "evaluation-finished",
    step: 1,
    loss: 1.5,
    perplexity: 4.48,
    targetTokens: 5,
    isBest: true,
  });
  progress.show(step(2, 1));
  progress.finish();
  expect(console.errText()).toBe(
    "\r\u001b[Kstep 1/3  loss 2.0000 ▁  812 tokens/s  2m 10s left  1.2 GB" +
      "\r\u001b[Kevaluation at step 1: held-out loss 1.5000, perplexity 4.48 (best)\n" +
      "\r\u001b[Kstep 2/3  loss 1.0000 █▁  812 tokens/s  2m 10s left  1.2 GB\n",
  );
});

it("writes a plain line now and then elsewhere, and always the last one", () => {
  const console = testConsole({ isLive: false });
  let now = 0;
  const progress = createProgress(console, () => now);
  for (const [number, time] of [
    [1, 0],
    [2, 2000],
    [3, 3000],
  ] as const) {
    now = time;
    progress.show(step(number, 1));
  }
  progress.finish();
  expect(console.errText().match(/step \d/g)).toEqual(["step 1", "step 3"]);
  expect(console.errText()).not.toContain("\u001b");
});
