// Which method to choose: all of them on one task (the quickstart's), with the same data, steps and
// seeds, and PEFT's beside them on the very same batches. A peer's adapter is loaded here for its
// examination, so both answer through one decoder.
//
//     npm run bench:quality -- --seeds 2 --only LoRA

import { existsSync } from "node:fs";
import { mkdir } from "node:fs/promises";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { type Command, isFailure, ours, runMeasurement } from "./child.ts";
import { flagsOrExit } from "./flags.ts";
import { METHODS, type MeasuredMethod } from "./method-list.ts";
import { PEERS_FOLDER, PROGRESS_FOLDER, PYTHON } from "./paths.ts";
import type { QualityReport } from "./quality-run.ts";
import { writePage } from "./report.ts";
import {
  describeMachine,
  keepSession,
  machineKind,
  type QualityRow,
  readResults,
  today,
} from "./results.ts";
import { say } from "./session.ts";
import { mean } from "./statistics.ts";
import { readCount } from "./workload.ts";

const USAGE = "npm run bench:quality -- [--seeds 2] [--steps 250] [--python PATH] [--only LABEL]…";
const MODEL = join(import.meta.dirname, "..", "assets", "embedded-model");

const { values, seeds, steps } = flagsOrExit(USAGE, () => {
  const { values } = parseArgs({
    options: {
      seeds: { type: "string" },
      steps: { type: "string" },
      python: { type: "string", default: PYTHON },
      only: { type: "string", multiple: true },
    },
  });
  return {
    values,
    seeds: readCount("seeds", values.seeds, 2),
    steps: readCount("steps", values.steps, 250),
  };
});
if (!existsSync(values.python))
  say(`No Python with PEFT at ${values.python}: our side alone is measured (docs/benchmarks.md).`);

const script = join(import.meta.dirname, "quality-run.ts");
const scratch = join(PROGRESS_FOLDER, "quality");
await mkdir(scratch, { recursive: true });

/** Runs a child and gives its report; what fails is told and left out. */
async function report<T extends object>(label: string, command: Command): Promise<T | undefined> {
  const result = await runMeasurement<T>(command);
  if (!isFailure(result)) return result;
  say(`${label}: failed: ${result.failed}`);
  return undefined;
}

// What was measured earlier today in the same way is taken over: a broken-off run goes on.
const earlier = (await readResults()).get(machineKind(await describeMachine()))?.quality;
const rows: QualityRow[] =
  earlier?.date === today() && earlier.steps === steps && !values.only
    ? earlier.rows.filter(({ exactMatch }) => exactMatch.length === seeds)
    : [];
// A quantised base shows its effect on large models; the task's model is too small for it.
const all = Object.values(METHODS)
  .flatMap((entry) => (typeof entry === "string" ? [] : entry))
  .filter(({ quantization }) => quantization === undefined);
for (const method of all) {
  if (values.only && !values.only.some((part) => method.label.includes(part))) continue;
  if (rows.some(({ name }) => name === method.label)) continue;
  rows.push(...(await compare(method)));
  if (!values.only) await keepSession({ quality: { date: today(), steps, rows } });
}

async function compare({
  label,
  options,
  peft,
  learningRate,
}: MeasuredMethod): Promise<QualityRow[]> {
  const own: QualityReport[] = [];
  const theirs: QualityReport[] = [];
  for (let seed = 0; seed < seeds; seed++) {
    const common = [
      ...["--seed", String(seed), "--steps", String(steps)],
      ...["--learning-rate", String(learningRate)],
    ];
    const ownReport = await report<QualityReport>(
      label,
      ours(script, "--method", JSON.stringify(options), ...common),
    );
    if (ownReport) own.push(ownReport);
    if (!peft || !existsSync(values.python)) continue;
    const batches = join(scratch, "batches.jsonl");
    const adapter = join(scratch, "adapter");
    await runMeasurement(ours(script, "--write-batches", batches, ...common));
    const trained = await report<{ seconds: number; trainable_parameters: number }>(
      `${label} (PEFT)`,
      {
        program: values.python,
        args: [
          join(PEERS_FOLDER, "peft-quality.py"),
          ...["--batches", batches, "--model", MODEL, "--out", adapter, "--seed", String(seed)],
          ...["--method", JSON.stringify(peft)],
        ],
      },
    );
    const exam =
      trained &&
      (await report<QualityReport>(`${label} (PEFT)`, ours(script, "--adapter", adapter)));
    if (exam) theirs.push({ ...exam, ...trained });
  }
  const sides: [string, QualityReport[]][] = [
    [label, own],
    [`${label} (PEFT)`, theirs],
  ];
  return sides.flatMap(([name, reports]) => {
    if (reports.length === 0) return [];
    const row: QualityRow = {
      name,
      exactMatch: reports.map((one) => one.exact_match),
      heldOutLoss: reports.map((one) => one.held_out_loss),
      seconds: mean(reports.map((one) => one.seconds ?? 0)),
      trainable: reports[0]!.trainable_parameters,
    };
    const matches = row.exactMatch.map((share) => `${(100 * share).toFixed(0)} %`).join(", ");
    const losses = row.heldOutLoss.map((loss) => loss.toFixed(4)).join(", ");
    say(`${name.padEnd(36)} ${matches}; held-out loss ${losses}; ${row.seconds.toFixed(0)} s`);
    return [row];
  });
}

if (values.only) say("Not kept: only a part was measured.");
else {
  say(`Kept; tables in ${await writePage()}.`);
}
