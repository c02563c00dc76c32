// Runs one measurement in a process of its own and reads the line of JSON that it prints.

import { spawn } from "node:child_process";

/** What bench/step.ts and bench/peers/peft-step.py print. */
export interface StepReport {
  readonly peer: string;
  readonly tokens_per_second: number;
  /** Seconds of each measured step. */
  readonly steps: readonly number[];
  readonly seconds_to_first_step: number;
  readonly peak_rss_bytes: number;
  readonly trainable_parameters?: number;
  /** Share of a step's time that a loss on fewer tokens saves, each step beside one with the whole loss. */
  readonly saved_by_fraction?: number;
  /** Of what is saved; the peers do not save. */
  readonly file_bytes?: number;
  /** Of every step, warm-up included, before its update. */
  readonly losses: readonly number[];
  readonly versions: Readonly<Record<string, string>>;
}

/** What bench/gemm-peak.ts and bench/peers/gemm-peak.py print. */
export interface GemmReport {
  readonly peer: string;
  readonly peak_gflops: number;
}

/** A measurement that did not come off, with the last thing that its process said. */
export interface Failure {
  readonly failed: string;
}

export interface Command {
  readonly program: string;
  readonly args: readonly string[];
  /** Variables on top of this process's own. */
  readonly environment?: Readonly<Record<string, string>>;
}

/** One of our own scripts, started as `tunesmith` starts the engine. */
export const ours = (script: string, ...args: string[]): Command => ({
  program: process.execPath,
  args: ["--disable-warning=ExperimentalWarning", script, ...args],
});

const TIME_LIMIT_MS = 300_000;

export function runMeasurement<T>({ program, args, environment }: Command): Promise<T | Failure> {
  const child = spawn(program, args, {
    stdio: ["ignore", "pipe", "pipe"],
    timeout: TIME_LIMIT_MS,
    env: { ...process.env, ...environment, TUNESMITH_BENCH_SPAWNED: String(Date.now()) },
  });
  let output = "";
  let complaints = "";
  child.stdout.on("data", (text) => {
    output += text;
  });
  child.stderr.on("data", (text) => {
    complaints += text;
  });
  return new Promise((resolve) => {
    child.on("error", ({ message }) => resolve({ failed: message }));
    child.on("close", (code, signal) => {
      const line = output.trim().split("\n").at(-1) ?? "";
      if (code === 0 && line.startsWith("{")) resolve(JSON.parse(line) as T);
      else
        resolve({
          failed: complaints.trim().split("\n").at(-1) || `ended with ${signal ?? `code ${code}`}`,
        });
    });
  });
}

export const isFailure = (report: object): report is Failure => "failed" in report;
