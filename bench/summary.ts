// From raw measurements to the figures that are shown: medians over rounds, ratios, shares.

import type { GemmReport, StepReport } from "./child.ts";
import { stepFlops } from "./flops.ts";
import type { Results, ScalingSession, SpeedSession } from "./results.ts";
import { reportsOf } from "./session.ts";
import { median } from "./statistics.ts";
import { STANDARD } from "./workload.ts";

/** One way of running the step; medians over rounds. */
export interface Side {
  readonly name: string;
  readonly label: string;
  readonly tokensPerSecond: number;
  /** Lowest and highest of the rounds. */
  readonly range: readonly [number, number];
  readonly peakBytes: number;
  readonly secondsToFirstStep: number;
  readonly firstLoss: number;
}

const LABELS: Readonly<Record<string, string>> = {
  "tunesmith-fast": "tunesmith",
  "peft-eager": "PEFT, eager",
  "peft-compile": "PEFT, torch.compile",
  "tunesmith-int8": "tunesmith, products in int8",
  "tunesmith-lean": "tunesmith, lean",
  "peft-checkpointing": "PEFT, gradient checkpointing",
  "tunesmith-quarter": "tunesmith, loss on 25 %",
  "peft-quarter": "PEFT, loss on 25 %",
};

/** What was measured, in the order of the labels. */
export function sidesOf(session: SpeedSession): Side[] {
  return Object.entries(LABELS).flatMap(([name, label]) => {
    const reports = reportsOf(session.measured, name) as StepReport[];
    if (reports.length === 0) return [];
    const speeds = reports.map((report) => report.tokens_per_second);
    return {
      name,
      label,
      tokensPerSecond: median(speeds),
      range: [Math.min(...speeds), Math.max(...speeds)] as const,
      peakBytes: median(reports.map((report) => report.peak_rss_bytes)),
      secondsToFirstStep: median(reports.map((report) => report.seconds_to_first_step)),
      firstLoss: reports[0]!.losses[0]!,
    };
  });
}

/** What failed, and why. */
export function failuresOf(session: SpeedSession): Map<string, string> {
  const failures = new Map<string, string>();
  for (const { name, report } of session.measured)
    if ("failed" in report) failures.set(LABELS[name] ?? name, report.failed);
  return failures;
}

export interface Peaks {
  /** GFLOP/s. */
  readonly tunesmith: number;
  readonly torch: number | undefined;
}

/** The best of all rounds: a peak is not an average. */
export function peaksOf(session: SpeedSession): Peaks | undefined {
  const best = (name: string) => {
    const reports = reportsOf(session.measured, name) as GemmReport[];
    return reports.length > 0
      ? Math.max(...reports.map((report) => report.peak_gflops))
      : undefined;
  };
  const tunesmith = best("gemm-tunesmith");
  return tunesmith === undefined ? undefined : { tunesmith, torch: best("gemm-torch") };
}

/** GFLOP that the standard workload demands for each token. */
export const GFLOP_PER_TOKEN = stepFlops(STANDARD) / (STANDARD.batch * STANDARD.length) / 1e9;

/** A figure with what was aimed at. */
export interface Aim {
  readonly what: string;
  readonly measured: string;
  readonly aim: string;
  readonly met: boolean;
}

/** The aims that the project set itself, measured. */
export function aimsOf({ machine, speed }: Results): Aim[] {
  if (!speed) return [];
  const sides = new Map(sidesOf(speed).map((side) => [side.name, side]));
  const peaks = peaksOf(speed);
  const fast = sides.get("tunesmith-fast");
  const eager = sides.get("peft-eager");
  const int8 = sides.get("tunesmith-int8");
  const lean = sides.get("tunesmith-lean");
  const checkpointing = sides.get("peft-checkpointing");
  const quarter = sides.get("tunesmith-quarter");
  const compile = sides.get("peft-compile");
  const aims: Aim[] = [];
  const atLeast = (what: string, value: number, least: number, digits = 2) =>
    aims.push({
      what,
      measured: `${value.toFixed(digits)}×`,
      aim: `≥ ${least}×`,
      met: value >= least,
    });
  const atMost = (what: string, value: number, most: number) =>
    aims.push({ what, measured: `${value.toFixed(2)}×`, aim: `≤ ${most}×`, met: value <= most });

  if (fast && eager) {
    const peer = Math.max(eager.tokensPerSecond, compile?.tokensPerSecond ?? 0);
    const least = machine.features.includes("AVX-512") ? 2 : 1.3;
    atLeast("tokens/s against PEFT (the better of both)", fast.tokensPerSecond / peer, least);
    if (int8)
      atLeast("products in int8: tokens/s against the same", int8.tokensPerSecond / peer, least);
    atMost("peak memory against PEFT, eager", fast.peakBytes / eager.peakBytes, 0.7);
  }
  if (lean && checkpointing) {
    const speedup = lean.tokensPerSecond / checkpointing.tokensPerSecond;
    atLeast("lean: tokens/s against PEFT with gradient checkpointing", speedup, 1.2);
    atMost("lean: peak memory against the same", lean.peakBytes / checkpointing.peakBytes, 0.6);
  }
  if (fast && peaks) {
    const share = (fast.tokensPerSecond * GFLOP_PER_TOKEN) / peaks.tunesmith;
    aims.push({
      what: "whole step against the machine's own GEMM peak",
      measured: percent(share),
      aim: "≥ 85 %",
      met: share >= 0.85,
    });
  }
  if (fast)
    aims.push({
      what: "process start to the end of the first step",
      measured: `${fast.secondsToFirstStep.toFixed(1)} s${eager ? ` (PEFT ${eager.secondsToFirstStep.toFixed(1)} s)` : ""}`,
      aim: "≤ 8 s",
      met: fast.secondsToFirstStep <= 8,
    });
  const savings = (reportsOf(speed.measured, "tunesmith-quarter") as StepReport[]).flatMap(
    ({ saved_by_fraction: saved }) => saved ?? [],
  );
  if (fast && quarter) {
    // Results from before steps were measured in pairs have the two speeds alone.
    const saved =
      savings.length > 0 ? median(savings) : 1 - fast.tokensPerSecond / quarter.tokensPerSecond;
    aims.push({
      what: "loss on 25 % of the tokens: a step is cheaper by",
      measured: percent(saved),
      aim: "≥ 15 %",
      met: saved >= 0.15,
    });
  }
  return aims;
}

export interface ScalingPoint {
  readonly name: string;
  readonly shape: string;
  readonly seconds: number;
  /** Time that the arithmetic says, from the standard workload's. */
  readonly predictedSeconds: number;
  readonly peakBytes: number;
}

export function scalingOf(session: ScalingSession): ScalingPoint[] {
  const secondsOf = (name: string) => {
    const steps = reportsOf(session.measured, name).flatMap((report) => report.steps);
    return steps.length > 0 ? median(steps) : undefined;
  };
  const standard = session.workloads.standard!;
  const base = secondsOf("standard");
  if (base === undefined) return [];
  return Object.entries(session.workloads).flatMap(([name, workload]) => {
    const seconds = secondsOf(name);
    if (seconds === undefined) return [];
    const peaks = reportsOf(session.measured, name).map((report) => report.peak_rss_bytes);
    const { batch, length, rank, depth = 30 } = workload;
    return {
      name,
      shape: `${batch} × ${length}, rank ${rank}, ${depth} layers`,
      seconds,
      predictedSeconds: (base * stepFlops(workload)) / stepFlops(standard),
      peakBytes: median(peaks),
    };
  });
}

export const percent = (share: number): string => `${(100 * share).toFixed(0)} %`;
