// A run of many measurements, one after another. What has been measured is written down at once, so
// that a run that was broken off goes on where it was.

import { existsSync } from "node:fs";
import { mkdir, readFile, rm } from "node:fs/promises";
import { loadavg } from "node:os";
import { join } from "node:path";
import { writeFileAtomically } from "../src/hub/index.ts";
import { type Command, type Failure, isFailure, runMeasurement } from "./child.ts";
import { PROGRESS_FOLDER } from "./paths.ts";

export interface Planned {
  readonly name: string;
  readonly command: Command;
}

export interface Measured<T> {
  readonly name: string;
  readonly round: number;
  readonly report: T | Failure;
}

export interface SessionOptions {
  readonly name: "speed" | "scaling" | "methods";
  readonly rounds: number;
  /** One line about each finished measurement. */
  readonly describe: (report: object) => string;
  /** Where to keep what has been measured so far. */
  readonly folder?: string;
}

/** What a broken-off run leaves; it goes on only under the very same plan. */
interface Progress {
  readonly plan: string;
  readonly loadBefore: number;
  readonly measured: readonly Measured<object>[];
}

/**
 * Measures the whole plan in every round, in order, so that a drift of the machine meets all alike.
 * @returns what was measured, and the machine's load just before
 */
export async function measureAll<T extends object>(
  plan: readonly Planned[],
  { name, rounds, describe, folder = PROGRESS_FOLDER }: SessionOptions,
): Promise<{ loadBefore: number; measured: Measured<T>[] }> {
  const file = join(folder, `${name}.json`);
  const key = JSON.stringify({ plan, rounds });
  const earlier = await readProgress(file, key);
  const measured = [...(earlier?.measured ?? [])] as Measured<T>[];
  const loadBefore = earlier?.loadBefore ?? loadavg()[0]!;
  if (measured.length > 0) say(`Going on after ${measured.length} measurements (from ${file}).`);
  await mkdir(folder, { recursive: true });
  for (let round = 1; round <= rounds; round++)
    for (const { name, command } of plan) {
      if (measured.some((one) => one.name === name && one.round === round)) continue;
      const began = performance.now();
      const report = await runMeasurement<T>(command);
      measured.push({ name, round, report });
      const seconds = ((performance.now() - began) / 1000).toFixed(0);
      const outcome = isFailure(report) ? `failed: ${report.failed}` : describe(report);
      say(`round ${round}/${rounds}  ${name.padEnd(24)} ${outcome}  (took ${seconds} s)`);
      const progress: Progress = { plan: key, loadBefore, measured };
      await writeFileAtomically(file, JSON.stringify(progress));
    }
  await rm(file);
  return { loadBefore, measured };
}

async function readProgress(file: string, plan: string): Promise<Progress | undefined> {
  if (!existsSync(file)) return undefined;
  const progress = JSON.parse(await readFile(file, "utf8")) as Progress;
  return progress.plan === plan ? progress : undefined;
}

/** The reports of one measurement in all rounds, without failures. */
export function reportsOf<T extends object>(measured: readonly Measured<T>[], name: string): T[] {
  return measured
    .filter((one) => one.name === name)
    .map(({ report }) => report)
    .filter((report): report is T => !isFailure(report));
}

export const say = (line: string): void => {
  process.stdout.write(`${line}\n`);
};
