// Work that may first download or read for long: what is shown meanwhile, and how Ctrl-C ends it.

import type { PrepareProgress } from "../recipe/attention.ts";
import type { Context } from "./command.ts";
import type { Console } from "./console.ts";
import { formatBytes } from "./format.ts";
import { listenForInterrupt } from "./interrupt.ts";

/** Shows progress as one line that is redrawn; where lines cannot be redrawn, nothing. */
export function createPreparing(console: Console) {
  let lineIsOpen = false;
  /** Takes the line away. */
  const finish = () => {
    if (lineIsOpen) console.err("\r\u001b[K");
    lineIsOpen = false;
  };
  return {
    show(progress: PrepareProgress): void {
      if (!console.isLive) return;
      const line = progressText(progress);
      console.err(`\r\u001b[K${line.slice(0, console.width - 1)}`);
      lineIsOpen = true;
    },
    /** Tells what is odd, on a line of its own. */
    warn(warning: string): void {
      finish();
      console.err(`${console.errColors.yellow("!")} ${warning}\n`);
    },
    finish,
  };
}

function progressText(progress: PrepareProgress): string {
  switch (progress.stage) {
    case "download":
      return `downloading ${progress.file}: ${formatBytes(progress.loadedBytes)} of ${formatBytes(progress.totalBytes)}`;
    case "read":
      return `reading data: ${progress.records} records`;
    case "look":
      return `looking at data: ${progress.settled} of ${progress.modules} layers settled after ${progress.batches} batches`;
  }
}

/** What such work takes: where it tells how far it is and what is odd, and what tells it to stop. */
export interface Attended {
  readonly signal: AbortSignal;
  readonly onProgress: (progress: PrepareProgress) => void;
  readonly onWarning: (warning: string) => void;
}

/**
 * The result of `work`, shown while it prepares. Ctrl-C, told to it by the signal, makes the exit code
 * 130 and the result undefined.
 */
export async function attend<Result>(
  context: Context,
  work: (attended: Attended) => Promise<Result>,
): Promise<Result | undefined> {
  const interrupt = listenForInterrupt(() => {}, context.console.closed);
  const preparing = createPreparing(context.console);
  const { signal } = interrupt;
  try {
    return await work({ signal, onProgress: preparing.show, onWarning: preparing.warn });
  } catch (error) {
    if (!signal.aborted || error !== signal.reason) throw error;
    context.exitCode = 130;
    return undefined;
  } finally {
    preparing.finish();
    interrupt.dispose();
  }
}
