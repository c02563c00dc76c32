// Speed and memory of a LoRA step beside Hugging Face PEFT on the same machine: every side in turn,
// several rounds of all, each measurement in a process of its own. Writes bench/results/ and the
// tables of docs/benchmarks.md.
//
//     npm run bench -- --rounds 2

import { join } from "node:path";
import type { Arithmetic } from "../src/engine/weights/integer-operands.ts";
import { type Command, type GemmReport, ours, type StepReport } from "./child.ts";
import { PEERS_FOLDER } from "./paths.ts";
import { readPeerFlags } from "./peer-flags.ts";
import { writePage } from "./report.ts";
import { keepSession, today, versionsOf } from "./results.ts";
import { measureAll, type Planned, say } from "./session.ts";
import { STANDARD, workloadFlags } from "./workload.ts";

const USAGE =
  "npm run bench -- [--rounds 2] [--steps 4] [--warmup 2] [--model FOLDER] [--python PATH] [--only NAME]…";

const flags = readPeerFlags(USAGE, { rounds: 2, steps: 4, warmup: 2 });
const { rounds, steps, warmup, only } = flags;

/** A quarter of each row is trained on, as where only completions are. */
const COMPLETIONS = { ...STANDARD, trainableFraction: 0.25 };
const run = ["--steps", String(steps), "--warmup", String(warmup), "--model", flags.model];

const tunesmith = (
  memory: "fast" | "lean",
  workload = STANDARD,
  arithmetic: Arithmetic = "float32",
): Command =>
  ours(
    join(import.meta.dirname, "step.ts"),
    ...["--memory", memory, "--arithmetic", arithmetic],
    ...run,
    ...workloadFlags(workload),
  );

const peft = (mode: "eager" | "compile" | "checkpointing", workload = STANDARD): Command => ({
  program: flags.python,
  args: [join(PEERS_FOLDER, "peft-step.py"), "--mode", mode, ...run, ...workloadFlags(workload)],
});

/** Ours and theirs in turn. */
const plan: readonly Planned[] = [
  { name: "gemm-tunesmith", command: ours(join(import.meta.dirname, "gemm-peak.ts")) },
  {
    name: "gemm-torch",
    command: {
      program: flags.python,
      args: [
        join(PEERS_FOLDER, "gemm-peak.py"),
        ...["--shape", "1024x576x1536", "--backend", "torch"],
      ],
    },
  },
  { name: "tunesmith-fast", command: tunesmith("fast") },
  { name: "peft-eager", command: peft("eager") },
  { name: "tunesmith-int8", command: tunesmith("fast", STANDARD, "int8") },
  { name: "tunesmith-lean", command: tunesmith("lean") },
  { name: "peft-checkpointing", command: peft("checkpointing") },
  { name: "tunesmith-quarter", command: tunesmith("fast", COMPLETIONS) },
  { name: "peft-quarter", command: peft("eager", COMPLETIONS) },
  { name: "peft-compile", command: peft("compile") },
];
const wanted = only ? plan.filter(({ name }) => only.some((part) => name.includes(part))) : plan;

const describe = (report: object): string =>
  "peak_gflops" in report
    ? `${(report as GemmReport).peak_gflops.toFixed(0)} GFLOP/s`
    : `${(report as StepReport).tokens_per_second.toFixed(0)} tokens/s, ` +
      `${((report as StepReport).peak_rss_bytes / 2 ** 30).toFixed(2)} GiB, ` +
      `first step after ${(report as StepReport).seconds_to_first_step.toFixed(1)} s`;

const { loadBefore, measured } = await measureAll<StepReport | GemmReport>(wanted, {
  name: "speed",
  rounds,
  describe,
});
if (only) say("Not kept: only a part was measured.");
else {
  const session = { date: today(), loadBefore, versions: versionsOf(measured), measured };
  say(`Kept in ${await keepSession({ speed: session })}.`);
  say(`Tables in ${await writePage()}.`);
}
