// The runs that bench/quality.ts makes: which methods, and the command of each run.

import { join } from "node:path";
import { type Command, ours } from "./child.ts";
import { bestRate, ratesToTry, type Sweeps, triedAt } from "./learning-rates.ts";
import { METHODS, type MeasuredMethod } from "./method-list.ts";
import { peerName } from "./quality-summary.ts";
import type { Planned } from "./session.ts";

const SCRIPT = join(import.meta.dirname, "quality-run.ts");

export interface RunOptions {
  readonly steps: number;
  /** Of each run. */
  readonly threads: number;
  /** The folder with the batches of every seed. */
  readonly batches: string;
}

export interface PeerOptions {
  readonly python: string;
  /** How many of the seeds the peer gets. */
  readonly seeds: number;
}

/**
 * The methods whose labels have one of the parts; undefined: all. A quantised base is left out: it
 * shows its effect on large models, and the task's model is too small for it.
 */
export function comparedMethods(only?: readonly string[]): MeasuredMethod[] {
  return Object.values(METHODS)
    .flatMap((entry) => (typeof entry === "string" ? [] : entry))
    .filter(({ quantization }) => quantization === undefined)
    .filter(({ label }) => only === undefined || only.some((part) => label.includes(part)));
}

/** What the sweep found, or the usual rate where there was none. */
export const chosenRate = ({ label, learningRate }: MeasuredMethod, sweeps: Sweeps): number =>
  bestRate(sweeps[label]?.tried ?? []) ?? learningRate;

/** Every method, each followed by the peer's; a round has the next seed, from 0. */
export function comparison(
  methods: readonly MeasuredMethod[],
  sweeps: Sweeps,
  options: RunOptions,
  peer?: PeerOptions,
): (round: number) => Planned[] {
  return (round) => {
    const seed = round - 1;
    return methods.flatMap((method): Planned[] => {
      const { label, options: own, peft } = method;
      const common = { ...options, seed, learningRate: chosenRate(method, sweeps) };
      const ownRun = {
        name: label,
        command: command(common, "--method", JSON.stringify(own)),
      };
      if (!peft || !peer || seed >= peer.seeds) return [ownRun];
      const peerRun = {
        name: peerName(label),
        command: command(common, "--peer", JSON.stringify(peft), "--python", peer.python),
      };
      return [ownRun, peerRun];
    });
  };
}

/** A run of the sweep. */
export interface Trial extends Planned {
  readonly label: string;
  readonly rate: number;
}

/** What the sweep tries next, of the methods that are not done; seed 0, and no examination. */
export function nextTrials(
  methods: readonly MeasuredMethod[],
  sweeps: Sweeps,
  options: RunOptions,
): Trial[] {
  return methods.flatMap(({ label, options: own, learningRate: usual }) =>
    ratesToTry(usual, triedAt(sweeps[label], options.steps)).map((rate) => ({
      label,
      rate,
      name: `${label} at ${rate}`,
      command: command(
        { ...options, seed: 0, learningRate: rate },
        ...["--method", JSON.stringify(own), "--loss-only"],
      ),
    })),
  );
}

/** The run that writes the batches of a seed. */
export const batchesCommand = (seed: number, options: RunOptions): Command =>
  command({ ...options, seed, learningRate: 1 }, "--write-batches", options.batches);

interface CommonFlags extends RunOptions {
  readonly seed: number;
  readonly learningRate: number;
}

const command = (common: CommonFlags, ...flags: string[]): Command =>
  ours(
    SCRIPT,
    ...flags,
    ...["--learning-rate", String(common.learningRate), "--seed", String(common.seed)],
    ...["--steps", String(common.steps), "--threads", String(common.threads)],
    ...["--batches", common.batches],
  );
