// A run of many measurements, one after another or several at once. What has been measured is written
// down at once, so that a run that was broken off goes on where it was.

import { existsSync } from "node:fs";
import { mkdir, readFile, rm } from "node:fs/promises";
import { loadavg } from "node:os";
import { join } from "node:path";
import { writeFileAtomically } from "../src/hub/index.ts";
import { type Command, type Failure, isFailure, runMeasurement } from "./child.ts";
import { inParallel } from "./parallel.ts";
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
  readonly name: "speed" | "generation" | "scaling" | "methods" | "quality" | "sweep";
  readonly rounds: number;
  /** Measurements at once; default 1. */
  readonly jobs?: number;
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
 *
 * @param plan what is measured, or what is in each round, from 1
 * @returns what was measured, in the order of the plan, and the machine's load just before
 */
export async function measureAll<T extends object>(
  plan: readonly Planned[] | ((round: number) => readonly Planned[]),
  { name, rounds, jobs = 1, describe, folder = PROGRESS_FOLDER }: SessionOptions,
): Promise<{ loadBefore: number; measured: Measured<T>[] }> {
  const file = join(folder, `${name}.json`);
  const planned = Array.from({ length: rounds }, (_, i) =>
    (typeof plan === "function" ? plan(i + 1) : plan).map((one) => ({ ...one, round: i + 1 })),
  ).flat();
  const key = JSON.stringify(planned);
  const earlier = await readProgress(file, key);
  const measured = [...(earlier?.measured ?? [])] as Measured<T>[];
  const find = (one: { name: string; round: number }) =>
    measured.find(({ name, round }) => name === one.name && round === one.round);
  const loadBefore = earlier?.loadBefore ?? loadavg()[0]!;
  if (measured.length > 0) say(`Going on after ${measured.length} measurements (from ${file}).`);
  await mkdir(folder, { recursive: true });
  let written: Promise<void> = Promise.resolve();
  const due = planned.filter((one) => !find(one));
  await inParallel(due, jobs, async ({ name, round, command }) => {
    const began = performance.now();
    const report = await runMeasurement<T>(command);
    measured.push({ name, round, report });
    const seconds = ((performance.now() - began) / 1000).toFixed(0);
    const outcome = isFailure(report) ? `failed: ${report.failed}` : describe(report);
    const count = jobs > 1 ? `${measured.length}/${planned.length}  ` : "";
    say(`${count}round ${round}/${rounds}  ${name.padEnd(24)} ${outcome}  (took ${seconds} s)`);
    // One after another: an older state must not replace a newer one.
    written = written.then(() => {
      const progress: Progress = { plan: key, loadBefore, measured };
      return writeFileAtomically(file, JSON.stringify(progress));
    });
    await written;
  });
  await rm(file, { force: true });
  return { loadBefore, measured: planned.map((one) => find(one)!) };
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
