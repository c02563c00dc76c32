// Cost of a step against sequence length, batch, rank and depth: measured time as a multiple of what
// the arithmetic says, so that anything that grows worse stands out. Writes bench/results/ and the
// tables of docs/benchmarks.md.
//
//     npm run bench:scaling

import { existsSync } from "node:fs";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { ours, type StepReport } from "./child.ts";
import { flagsOrExit } from "./flags.ts";
import { MODEL_FOLDER } from "./paths.ts";
import { writePage } from "./report.ts";
import { keepSession, today, versionsOf } from "./results.ts";
import { measureAll, say } from "./session.ts";
import { readCount, STANDARD, type Workload, workloadFlags } from "./workload.ts";

const USAGE =
  "npm run bench:scaling -- [--rounds 1] [--steps 2] [--memory fast|lean] [--model FOLDER]";

const { values, rounds, steps } = flagsOrExit(USAGE, () => {
  const { values } = parseArgs({
    options: {
      rounds: { type: "string" },
      steps: { type: "string" },
      memory: { type: "string", default: "fast" },
      model: { type: "string", default: MODEL_FOLDER },
    },
  });
  return {
    values,
    rounds: readCount("rounds", values.rounds, 1),
    steps: readCount("steps", values.steps, 2),
  };
});

if (!existsSync(join(values.model, "config.json"))) {
  say(
    `bench: needs the model (${values.model})\n  fix: see docs/benchmarks.md; or pass --model FOLDER`,
  );
  process.exit(1);
}

/** The standard workload comes first: the others are held against it. */
const workloads: Readonly<Record<string, Workload>> = {
  standard: STANDARD,
  "length 256": { ...STANDARD, batch: 8, length: 256 },
  "length 512": { ...STANDARD, batch: 4, length: 512 },
  "length 1024": { ...STANDARD, batch: 2, length: 1024 },
  "length 2048": { ...STANDARD, batch: 1, length: 2048 },
  "batch 1": { ...STANDARD, batch: 1 },
  "batch 2": { ...STANDARD, batch: 2 },
  "rank 64": { ...STANDARD, rank: 64 },
  "depth 10": { ...STANDARD, depth: 10 },
  "depth 20": { ...STANDARD, depth: 20 },
};

const plan = Object.entries(workloads).map(([name, workload]) => ({
  name,
  command: ours(
    join(import.meta.dirname, "step.ts"),
    ...["--memory", values.memory, "--model", values.model],
    ...["--steps", String(steps), "--warmup", "1", ...workloadFlags(workload)],
  ),
}));

const { loadBefore, measured } = await measureAll<StepReport>(plan, {
  name: "scaling",
  rounds,
  describe: (report) => `${(report as StepReport).tokens_per_second.toFixed(0)} tokens/s`,
});
const session = { date: today(), loadBefore, versions: versionsOf(measured), measured, workloads };
say(`Kept in ${await keepSession({ scaling: session })}.`);
say(`Tables in ${await writePage()}.`);
