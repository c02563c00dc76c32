// Which learning rate each method gets on the quickstart's task: what `bench:quality --sweep` tried,
// kept beside this file, and the choice that follows from it. Rates belong to methods and task, not to
// machines, and a peer's run takes the same.

import { existsSync } from "node:fs";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { writeFileAtomically } from "../src/hub/index.ts";

const FILE = join(import.meta.dirname, "learning-rates.json");
/** Neighbours on the grid of rates. */
const FACTOR = 3;
/** Where a sweep begins, as powers of the factor: the usual rate, one below, two above. */
const FIRST_POWERS = [-1, 0, 1, 2];
/** A method that is best at the end of its grid gets further rates, up to so many in all. */
const MOST_RATES = 7;

export interface TriedRate {
  readonly rate: number;
  /** On held-out samples, not on the messages of the examination; null: the run failed. */
  readonly loss: number | null;
}

export interface Sweep {
  /** Optimizer steps of each run. */
  readonly steps: number;
  readonly tried: readonly TriedRate[];
}

/** By the method's label. */
export type Sweeps = Readonly<Record<string, Sweep>>;

/** The tried rate of the lowest loss; undefined where none came off. */
export function bestRate(tried: readonly TriedRate[]): number | undefined {
  const finished = tried.filter((one): one is { rate: number; loss: number } => one.loss !== null);
  return finished.sort((a, b) => a.loss - b.loss)[0]?.rate;
}

/**
 * What is to be tried next: the first grid around the usual rate, later the neighbour beyond an end
 * that is the best; nothing once the best lies between others.
 */
export function ratesToTry(usual: number, tried: readonly TriedRate[]): number[] {
  const onGrid = (power: number) => Number((usual * FACTOR ** power).toPrecision(2));
  const isNew = (rate: number) => !tried.some((one) => one.rate === rate);
  const first = FIRST_POWERS.map(onGrid).filter(isNew);
  if (first.length > 0) return first;
  const best = bestRate(tried);
  if (best === undefined || tried.length >= MOST_RATES) return [];
  const power = Math.round(Math.log(best / usual) / Math.log(FACTOR));
  return [power - 1, power + 1].map(onGrid).filter(isNew);
}

/** What was tried of a method with so many steps; other steps begin anew. */
export const triedAt = (sweep: Sweep | undefined, steps: number): readonly TriedRate[] =>
  sweep?.steps === steps ? sweep.tried : [];

/** The sweeps with one more rate of a method, lowest rate first. */
export function withTried(sweeps: Sweeps, label: string, steps: number, one: TriedRate): Sweeps {
  const tried = [...triedAt(sweeps[label], steps), one].sort((a, b) => a.rate - b.rate);
  return { ...sweeps, [label]: { steps, tried } };
}

/** What was tried so far. */
export async function readSweeps(file = FILE): Promise<Sweeps> {
  return existsSync(file) ? (JSON.parse(await readFile(file, "utf8")) as Sweeps) : {};
}

export async function writeSweeps(sweeps: Sweeps, file = FILE): Promise<string> {
  await writeFileAtomically(file, `${JSON.stringify(sweeps, undefined, 2)}\n`);
  return file;
}
