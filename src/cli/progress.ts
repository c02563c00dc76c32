// A training run as a person watches it: one line that is redrawn on a terminal, a plain line every
// few seconds elsewhere.

import type { StepFinished, TrainEvent } from "../train/index.ts";
import type { Console } from "./console.ts";
import { formatBytes, formatDuration, measures, shortPath, sparkline } from "./format.ts";

/** Seconds between two lines where lines cannot be redrawn. */
const PLAIN_INTERVAL = 5;
const SPARKLINE_WIDTH = 16;

export interface Progress {
  show(event: TrainEvent): void;
  /** Leaves the last state of the live line standing. */
  finish(): void;
}

/** The moment as one line: step, loss with its course, speed, time left, memory. */
function progressLine(step: StepFinished, losses: readonly number[]): string {
  const total = step.totalSteps === undefined ? "" : `/${step.totalSteps}`;
  const parts = [
    `step ${step.step}${total}`,
    `loss ${step.loss.toFixed(4)} ${sparkline(losses, SPARKLINE_WIDTH)}`.trimEnd(),
    `${Math.round(step.tokensPerSecond)} tokens/s`,
    step.secondsLeft === undefined ? "" : `${formatDuration(step.secondsLeft)} left`,
    formatBytes(step.peakMemoryBytes),
  ];
  return parts.filter((part) => part !== "").join("  ");
}

/** Shows the events of a run on a console. */
export function createProgress(console: Console, now: () => number = Date.now): Progress {
  const { errColors: colors } = console;
  const losses: number[] = [];
  let lineIsOpen = false;
  let lastPlain = Number.NEGATIVE_INFINITY;

  const clear = () => {
    if (lineIsOpen) console.err("\r\u001b[K");
    lineIsOpen = false;
  };
  const note = (text: string) => {
    clear();
    console.err(`${text}\n`);
  };

  return {
    show(event) {
      switch (event.type) {
        case "run-started":
          note(
            event.resumedFromStep === undefined
              ? `run folder ${shortPath(event.runFolder)}`
              : `run folder ${shortPath(event.runFolder)}, going on after step ${event.resumedFromStep}`,
          );
          if (event.changedSettings.length > 0)
            note(`changed since then, so losses will differ: ${event.changedSettings.join(", ")}`);
          return;
        case "step-finished": {
          losses.push(event.loss);
          const line = progressLine(event, losses);
          if (console.isLive) {
            console.err(`\r\u001b[K${line.slice(0, console.width - 1)}`);
            lineIsOpen = true;
          } else if (
            now() - lastPlain >= PLAIN_INTERVAL * 1000 ||
            event.step === event.totalSteps
          ) {
            lastPlain = now();
            note(line);
          }
          return;
        }
        case "evaluation-finished":
          note(
            `${colors.cyan("evaluation")} at step ${event.step}: held-out loss ${event.loss.toFixed(4)}` +
              `${measures(event)
                .map(([name, value]) => `, ${name} ${value}`)
                .join("")}${event.isBest ? colors.green(" (best)") : ""}`,
          );
          return;
        case "checkpoint-saved":
        case "run-finished":
          return;
      }
    },
    finish() {
      if (lineIsOpen) console.err("\n");
      lineIsOpen = false;
    },
  };
}
