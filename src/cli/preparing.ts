// What a command shows before its first event: a download, or data being read.

import type { PrepareProgress } from "../recipe/prepare.ts";
import type { Console } from "./console.ts";
import { formatBytes } from "./format.ts";

/** Shows progress as one line that is redrawn; where lines cannot be redrawn, nothing. */
export function createPreparing(console: Console) {
  let lineIsOpen = false;
  return {
    show(progress: PrepareProgress): void {
      if (!console.isLive) return;
      const line =
        progress.stage === "download"
          ? `downloading ${progress.file}: ${formatBytes(progress.loadedBytes)} of ${formatBytes(progress.totalBytes)}`
          : `reading data: ${progress.records} records`;
      console.err(`\r\u001b[K${line.slice(0, console.width - 1)}`);
      lineIsOpen = true;
    },
    /** Takes the line away. */
    finish(): void {
      if (lineIsOpen) console.err("\r\u001b[K");
      lineIsOpen = false;
    },
  };
}
