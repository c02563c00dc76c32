// What a measuring process knows of itself.

import { readFileSync } from "node:fs";
import { createRequire } from "node:module";

/** When the parent started this process, or the system did, in milliseconds since the epoch. */
export const startedAt = (): number =>
  Number(process.env.TUNESMITH_BENCH_SPAWNED ?? performance.timeOrigin);

/** Peak resident memory in bytes: VmHWM on Linux (as the peers report it). */
export function peakBytes(): number {
  const status =
    process.platform === "linux" ? readFileSync("/proc/self/status", "utf8") : undefined;
  const kilobytes = /^VmHWM:\s*(\d+) kB$/m.exec(status ?? "")?.[1];
  return 1024 * Number(kilobytes ?? process.resourceUsage().maxRSS);
}

export function ortVersion(): string {
  const require = createRequire(import.meta.url);
  return (require("onnxruntime-node/package.json") as { version: string }).version;
}
