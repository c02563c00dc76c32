// Speed, memory and size of every tuning method beside PEFT, where it has the method: the standard
// step of SmolLM2-135M, ours and theirs in turn, each in a process of its own.
//
//     npm run bench:methods -- --rounds 1 --only LoRA

import { existsSync } from "node:fs";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { type Command, ours, type StepReport } from "./child.ts";
import { flagsOrExit } from "./flags.ts";
import { METHODS, type MeasuredMethod } from "./method-list.ts";
import { MODEL_FOLDER, PEERS_FOLDER, PYTHON } from "./paths.ts";
import { writePage } from "./report.ts";
import { keepSession, today, versionsOf } from "./results.ts";
import { measureAll, type Planned, say } from "./session.ts";
import { readCount, STANDARD, workloadFlags } from "./workload.ts";

const USAGE =
  "npm run bench:methods -- [--rounds 1] [--steps 3] [--warmup 1] [--model FOLDER] [--python PATH] [--only LABEL]…";

const { values, rounds, steps, warmup } = flagsOrExit(USAGE, () => {
  const { values } = parseArgs({
    options: {
      rounds: { type: "string" },
      steps: { type: "string" },
      warmup: { type: "string" },
      model: { type: "string", default: MODEL_FOLDER },
      python: { type: "string", default: PYTHON },
      only: { type: "string", multiple: true },
    },
  });
  return {
    values,
    rounds: readCount("rounds", values.rounds, 1),
    steps: readCount("steps", values.steps, 3),
    warmup: readCount("warmup", values.warmup, 1),
  };
});

if (!existsSync(join(values.model, "config.json")) || !existsSync(values.python)) {
  say(
    `bench: needs the model (${values.model}) and Python with the peers' libraries (${values.python})\n` +
      "  fix: see docs/benchmarks.md; or pass --model FOLDER and --python PATH",
  );
  process.exit(1);
}

const run = [
  ...["--steps", String(steps), "--warmup", String(warmup), "--model", values.model],
  ...workloadFlags(STANDARD),
];

const commandsOf = ({ label, options, peft, quantization }: MeasuredMethod): Planned[] => {
  const own: Command = ours(
    join(import.meta.dirname, "step.ts"),
    ...["--method", JSON.stringify(options)],
    ...run,
  );
  const theirs: Command | undefined = peft && {
    program: values.python,
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
const wanted = values.only
  ? all.filter(({ label }) => values.only!.some((part) => label.includes(part)))
  : all;

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
if (values.only) say("Not kept: only a part was measured.");
else {
  const session = { date: today(), loadBefore, versions: versionsOf(measured), measured };
  say(`Kept in ${await keepSession({ methods: session })}.`);
  say(`Tables in ${await writePage()}.`);
}
