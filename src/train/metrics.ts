// metrics.jsonl: every step and evaluation of a run, one JSON object a line, written as they happen.

import { open, readFile } from "node:fs/promises";
import { writeFileAtomically } from "../hub/index.ts";
import type { MetricEvent } from "./events.ts";

export interface MetricsFile {
  append(event: MetricEvent): Promise<void>;
  /** Flushes to the disk, so that no checkpoint is ever ahead of its metrics. */
  flush(): Promise<void>;
  close(): Promise<void>;
}

/** Opens a metrics file to append to; made where it is missing. */
export async function openMetrics(path: string): Promise<MetricsFile> {
  const file = await open(path, "a");
  return {
    append: (event) => file.appendFile(`${JSON.stringify(event)}\n`),
    flush: () => file.sync(),
    close: () => file.close(),
  };
}

/**
 * The events of a metrics file in order; none where it is missing. A line that a killed process left
 * unfinished is passed over.
 */
export async function readMetrics(path: string): Promise<MetricEvent[]> {
  let text: string;
  try {
    text = await readFile(path, "utf8");
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return [];
    throw error;
  }
  const events: MetricEvent[] = [];
  for (const line of text.split("\n")) {
    const event = parseLine(line);
    if (event) events.push(event);
  }
  return events;
}

function parseLine(line: string): MetricEvent | undefined {
  if (!line.endsWith("}")) return undefined;
  try {
    return JSON.parse(line) as MetricEvent;
  } catch {
    return undefined;
  }
}

/**
 * Takes a metrics file back to the moment of a checkpoint: steps after `step` and evaluations after
 * `evaluatedAt` are dropped, because the resumed run will write them again.
 */
export async function truncateMetrics(
  path: string,
  { step, evaluatedAt }: { readonly step: number; readonly evaluatedAt: number },
): Promise<void> {
  const limits = { "step-finished": step, "evaluation-finished": evaluatedAt };
  const kept = (await readMetrics(path)).filter((event) => event.step <= limits[event.type]);
  const text = kept.map((event) => `${JSON.stringify(event)}\n`).join("");
  await writeFileAtomically(path, text);
}
