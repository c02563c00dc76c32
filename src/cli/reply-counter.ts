// How far a file of prompts is answered: a line that is redrawn on a terminal, a plain line every few
// seconds elsewhere.

import type { GenerateFileProgress } from "../recipe/generate-file.ts";
import type { Console } from "./console.ts";
import { formatDuration } from "./format.ts";

/** Seconds between two lines where lines cannot be redrawn. */
const PLAIN_INTERVAL = 5;

export interface ReplyCounter {
  show(progress: GenerateFileProgress): void;
  /** Takes the line away. */
  finish(): void;
}

/** The moment as one line: replies, speed, time left at the pace so far. */
function replyLine({ records, replies, tokens, seconds }: GenerateFileProgress): string {
  const left = (seconds / replies) * (records - replies);
  const speed = Math.round(tokens / Math.max(seconds, 1e-3));
  return `${replies}/${records} replies  ${speed} tokens/s  ${formatDuration(left)} left`;
}

export function createCounter(console: Console, now: () => number = Date.now): ReplyCounter {
  let lineIsOpen = false;
  let lastPlain = now();
  return {
    show(progress) {
      const line = replyLine(progress);
      if (console.isLive) {
        console.err(`\r\u001b[K${line.slice(0, console.width - 1)}`);
        lineIsOpen = true;
      } else if (now() - lastPlain >= PLAIN_INTERVAL * 1000) {
        lastPlain = now();
        console.err(`${line}\n`);
      }
    },
    finish() {
      if (lineIsOpen) console.err("\r\u001b[K");
      lineIsOpen = false;
    },
  };
}
