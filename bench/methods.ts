// Speed, memory and size of every tuning method beside PEFT, where it has the method: the standard
// step of SmolLM2-135M, ours and theirs in turn, each in a process of its own.
//
//     npm run bench:methods -- --rounds 1 --only LoRA

import { join } from "node:path";
import { type Command, ours, type StepReport } from "./child.ts";
import { METHODS, type MeasuredMethod } from "./method-list.ts";
import { PEERS_FOLDER } from "./paths.ts";
import { readPeerFlags } from "./peer-flags.ts";
import { writePage } from "./report.ts";
import { keepSession, today, versionsOf } from "./results.ts";
import { measureAll, type Planned, say } from "./session.ts";
import { STANDARD, workloadFlags } from "./workload.ts";

const USAGE =
  "npm run bench:methods -- [--rounds 1] [--steps 3] [--warmup 1] [--model FOLDER] [--python PATH] [--only LABEL]…";

const flags = readPeerFlags(USAGE, { rounds: 1, steps: 3, warmup: 1 });
const { rounds, steps, warmup, only } = flags;

const run = [
  ...["--steps", String(steps), "--warmup", String(warmup), "--model", flags.model],
  ...workloadFlags(STANDARD),
];

const commandsOf = ({ label, options, peft, quantization }: MeasuredMethod): Planned[] => {
  const own: Command = ours(
    join(import.meta.dirname, "step.ts"),
    ...["--method", JSON.stringify(options)],
    ...run,
  );
  const theirs: Command | undefined = peft && {
    program: flags.python,
    args: [
      join(PEERS_FOLDER, "peft-step.py"),
      ...["--method", JSON.stringify(peft)],
      ...(quantization ? ["--quantization", quantization] : []),
      ...run,
    ],
  };
  return [
    { name: label, command: own },
    ...(theirs ? [{ name: `${label} (PEFT)`, command: theirs }] : []),
  ];
};

const all = Object.values(METHODS).flatMap((entry) => (typeof entry === "string" ? [] : entry));
const wanted = only ? all.filter(({ label }) => only.some((part) => label.includes(part))) : all;

const describe = (report: object): string => {
  const { tokens_per_second, peak_rss_bytes, trainable_parameters } = report as StepReport;
  return (
    `${tokens_per_second.toFixed(0)} tokens/s, ${(peak_rss_bytes / 2 ** 30).toFixed(2)} GiB, ` +
    `${trainable_parameters ?? "?"} trained`
  );
};

const { loadBefore, measured } = await measureAll<StepReport>(wanted.flatMap(commandsOf), {
  name: "methods",
  rounds,
  describe,
});
if (only) say("Not kept: only a part was measured.");
else {
  const session = { date: today(), loadBefore, versions: versionsOf(measured), measured };
  say(`Kept in ${await keepSession({ methods: session })}.`);
  say(`Tables in ${await writePage()}.`);
}
