// Which method to choose: all of them on one task (the quickstart's), with the same data, steps and
// seeds, and PEFT's beside them on the very same batches. A peer's adapter is loaded here for its
// examination, so both answer through one decoder.
//
//     npm run bench:quality -- --sweep --jobs 8       # the methods' learning rates, once
//     npm run bench:quality -- --jobs 8               # the comparison

import { existsSync } from "node:fs";
import { availableParallelism } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { isFailure, runMeasurement } from "./child.ts";
import { flagsOrExit } from "./flags.ts";
import { bestRate, readSweeps, withTried, writeSweeps } from "./learning-rates.ts";
import { inParallel } from "./parallel.ts";
import { PROGRESS_FOLDER, PYTHON } from "./paths.ts";
import { batchesCommand, comparedMethods, comparison, nextTrials } from "./quality-plan.ts";
import type { QualityReport } from "./quality-run.ts";
import { writePage } from "./report.ts";
import { keepSession, today, versionsOf } from "./results.ts";
import { measureAll, say } from "./session.ts";
import { readCount } from "./workload.ts";

const USAGE =
  "npm run bench:quality -- [--sweep] [--jobs 1] [--seeds 2] [--peer-seeds 2] [--steps 200] " +
  "[--python PATH] [--only LABEL]…";

const flags = flagsOrExit(USAGE, () => {
  const { values } = parseArgs({
    options: {
      sweep: { type: "boolean", default: false },
      jobs: { type: "string" },
      seeds: { type: "string" },
      "peer-seeds": { type: "string" },
      steps: { type: "string" },
      python: { type: "string", default: PYTHON },
      only: { type: "string", multiple: true },
    },
  });
  const seeds = readCount("seeds", values.seeds, 2);
  return {
    ...values,
    seeds,
    jobs: readCount("jobs", values.jobs, 1),
    peerSeeds: readCount("peer-seeds", values["peer-seeds"], seeds),
    steps: readCount("steps", values.steps, 200),
  };
});
const { jobs, seeds, peerSeeds, steps, python, only } = flags;
const threads = Math.max(1, Math.floor(availableParallelism() / jobs));
const options = { steps, threads, batches: join(PROGRESS_FOLDER, "quality-batches") };
const methods = comparedMethods(only);
say(`${methods.length} methods, ${steps} steps; ${jobs} runs at once, ${threads} threads each.`);

const describe = (report: object): string => {
  const { exact_match, held_out_loss, seconds, trainable_parameters } = report as QualityReport;
  const share = exact_match === undefined ? "" : `${(100 * exact_match).toFixed(0)} % right, `;
  return (
    `${share}held-out loss ${held_out_loss.toFixed(4)}, ${seconds.toFixed(0)} s, ` +
    `${trainable_parameters} trained`
  );
};

/** Tries rates until every method's best lies between others; keeps what was tried after each turn. */
async function sweep(): Promise<void> {
  let sweeps = await readSweeps();
  await prepareBatches(1);
  for (;;) {
    const trials = nextTrials(methods, sweeps, options);
    if (trials.length === 0) break;
    const { measured } = await measureAll<QualityReport>(
      trials.map(({ name, command }) => ({ name, command })),
      { name: "sweep", rounds: 1, jobs, describe },
    );
    for (const [i, { label, rate }] of trials.entries()) {
      const { report } = measured[i]!;
      const loss = isFailure(report) ? null : report.held_out_loss;
      sweeps = withTried(sweeps, label, steps, { rate, loss });
    }
    say(`Kept in ${await writeSweeps(sweeps)}.`);
  }
  for (const { label } of methods) {
    const { tried } = sweeps[label]!;
    const best = bestRate(tried);
    const all = tried.map(({ rate, loss }) => `${rate}: ${loss?.toFixed(4) ?? "failed"}`);
    const isEnd = best === tried[0]!.rate || best === tried.at(-1)!.rate;
    say(`${label.padEnd(32)} ${best ?? "none"}${isEnd ? " (an end)" : ""}   ${all.join(", ")}`);
  }
}

/** Writes the batches of so many seeds. */
async function prepareBatches(count: number): Promise<void> {
  await inParallel([...Array(count).keys()], jobs, async (seed) => {
    const done = await runMeasurement<object>(batchesCommand(seed, options));
    if (isFailure(done)) throw new Error(`The batches could not be written: ${done.failed}`);
  });
}

async function compare(): Promise<void> {
  const peer = existsSync(python) ? { python, seeds: peerSeeds } : undefined;
  if (!peer) say(`No Python with PEFT at ${python}: our side alone is measured.`);
  const plan = comparison(methods, await readSweeps(), options, peer);
  const began = performance.now();
  await prepareBatches(seeds);
  const session = { name: "quality", rounds: seeds, jobs, describe } as const;
  const { loadBefore, measured } = await measureAll<QualityReport>(plan, session);
  say(`This session took ${((performance.now() - began) / 60_000).toFixed(1)} minutes.`);
  if (only) return say("Not kept: only a part was measured.");
  const versions = versionsOf(measured);
  const quality = { date: today(), loadBefore, versions, steps, jobs, threads, measured };
  say(`Kept in ${await keepSession({ quality })}.`);
  say(`Tables in ${await writePage()}.`);
}

await (flags.sweep ? sweep() : compare());
