// Results on disk: one file for each kind of machine, raw measurements with what they were made on.
// Tables and pictures are drawn from these files alone.

import { existsSync } from "node:fs";
import { mkdir, readdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import { writeFileAtomically } from "../src/hub/index.ts";
import { inspectMachine, type Machine } from "../src/recipe/machine.ts";
import type { GemmReport, StepReport } from "./child.ts";
import type { GenerationReport } from "./generation-report.ts";
import { RESULTS_FOLDER } from "./paths.ts";
import type { QualityReport } from "./quality-run.ts";
import type { Measured } from "./session.ts";
import type { Workload } from "./workload.ts";

export interface MachineFacts {
  readonly processor: string;
  readonly features: readonly string[];
  readonly cores: number;
  /** Bytes. */
  readonly memory: number;
  readonly system: string;
}

export interface Session<T> {
  /** Day on which it was measured, as YYYY-MM-DD. */
  readonly date: string;
  /** The system's load average just before: other programs slow both sides, not equally. */
  readonly loadBefore: number;
  readonly versions: Readonly<Record<string, string>>;
  readonly measured: readonly Measured<T>[];
}

export type SpeedSession = Session<StepReport | GemmReport>;

export interface ScalingSession extends Session<StepReport> {
  readonly workloads: Readonly<Record<string, Workload>>;
}

export type GenerationSession = Session<GenerationReport>;

export type MethodsSession = Session<StepReport>;

/** Every method, and a peer's, on the quickstart's task; a round is a seed. */
export interface QualitySession extends Session<QualityReport> {
  /** Optimizer steps of every run. */
  readonly steps: number;
  /** Runs at once; each run's seconds are those of a run among so many. */
  readonly jobs: number;
  /** Of each run. */
  readonly threads: number;
}

export interface Results {
  readonly machine: MachineFacts;
  readonly speed?: SpeedSession;
  readonly generation?: GenerationSession;
  readonly scaling?: ScalingSession;
  readonly methods?: MethodsSession;
  readonly quality?: QualitySession;
}

export async function describeMachine(): Promise<MachineFacts> {
  const machine: Machine = await inspectMachine();
  return {
    processor: machine.processor,
    features: machine.features ?? [],
    cores: machine.cores.usable,
    memory: machine.memory.total,
    system: machine.system,
  };
}

/** The name of a kind of machine, such as "amd-epyc-avx-512-2-cores". */
export function machineKind({ processor, features, cores }: MachineFacts): string {
  const vectors = ["AVX-512", "AVX2", "NEON"].find((name) => features.includes(name)) ?? "";
  return `${processor} ${vectors} ${cores} cores`
    .toLowerCase()
    .replace(/\((r|tm)\)/g, "")
    .replace(/[^a-z0-9]+/g, "-");
}

/** Puts a session into this machine's file, beside what is there. */
export async function keepSession(session: Partial<Results>): Promise<string> {
  const machine = await describeMachine();
  const file = join(RESULTS_FOLDER, `${machineKind(machine)}.json`);
  const earlier = existsSync(file) ? JSON.parse(await readFile(file, "utf8")) : {};
  await mkdir(RESULTS_FOLDER, { recursive: true });
  const results: Results = { ...earlier, ...session, machine };
  await writeFileAtomically(file, `${JSON.stringify(results, null, 1)}\n`);
  return file;
}

/** All results by kind of machine. */
export async function readResults(): Promise<Map<string, Results>> {
  await mkdir(RESULTS_FOLDER, { recursive: true });
  const names = (await readdir(RESULTS_FOLDER)).filter((name) => name.endsWith(".json")).sort();
  const results = new Map<string, Results>();
  for (const name of names) {
    const text = await readFile(join(RESULTS_FOLDER, name), "utf8");
    results.set(name.replace(/\.json$/, ""), JSON.parse(text));
  }
  return results;
}

/** Every version that a report names. */
export function versionsOf(measured: readonly Measured<object>[]): Record<string, string> {
  return Object.assign(
    {},
    ...measured.map(({ report }) => ("versions" in report ? report.versions : {})),
  );
}

export const today = (): string => new Date().toISOString().slice(0, 10);
