// The tables and pictures of docs/benchmarks.md, drawn from bench/results/ and put between markers;
// the words around them are written by hand.
//
//     node bench/report.ts

import { mkdir, readFile } from "node:fs/promises";
import { basename, join } from "node:path";
import { betweenMarkers } from "../scripts/between-markers.ts";
import { writeFileAtomically } from "../src/hub/index.ts";
import { isFailure } from "./child.ts";
import { type GenerationSide, generationAims, generationSides } from "./generation-summary.ts";
import { table } from "./markdown-table.ts";
import { PAGE, PICTURES_FOLDER, README } from "./paths.ts";
import { drawSpeedPicture } from "./picture.ts";
import { drawQualityPicture } from "./quality-picture.ts";
import { qualityRows, qualityTable } from "./quality-summary.ts";
import {
  type MachineFacts,
  type MethodsSession,
  type QualitySession,
  type Results,
  readResults,
  type Session,
} from "./results.ts";
import { reportsOf } from "./session.ts";
import { median } from "./statistics.ts";
import {
  type Aim,
  aimsOf,
  failuresOf,
  GFLOP_PER_TOKEN,
  type Peaks,
  peaksOf,
  percent,
  type ScalingPoint,
  type Side,
  scalingOf,
  sidesOf,
} from "./summary.ts";

const GIB = 2 ** 30;
/** Of the loss, between float32 implementations. */
const LOSS_TOLERANCE = 1e-4;

/** Writes the page, its pictures and the summary in the README; returns the page's path. */
export async function writePage(): Promise<string> {
  const sections: string[] = [];
  const summaries: string[] = [];
  for (const [kind, results] of await readResults()) {
    sections.push(await section(kind, results));
    summaries.push(summary(kind, results));
  }
  await fill(PAGE, sections.join("\n\n"));
  await fill(README, summaries.filter((text) => text !== "").join("\n\n"));
  return PAGE;
}

async function fill(file: string, text: string): Promise<void> {
  await writeFileAtomically(file, betweenMarkers(await readFile(file, "utf8"), "bench", text));
}

function summary(kind: string, results: Results): string {
  const { machine, speed } = results;
  if (!speed) return "";
  return [
    `LoRA step of SmolLM2-135M, 4 × 256 tokens, float32, on ${title(machine)} (${speed.date}):`,
    `![Speed and memory](docs/pictures/${kind}.svg)`,
    aimTable(aimsOf(results)),
  ].join("\n\n");
}

async function section(kind: string, results: Results): Promise<string> {
  const { machine, speed, generation, scaling, methods, quality } = results;
  const parts = [`### ${title(machine)}`];
  if (speed) {
    const sides = sidesOf(speed);
    const peaks = peaksOf(speed);
    await mkdir(PICTURES_FOLDER, { recursive: true });
    const picture = join(PICTURES_FOLDER, `${kind}.svg`);
    await writeFileAtomically(picture, drawSpeedPicture(sides, roof(peaks), title(machine)));
    const link = `pictures/${basename(picture)}`;
    parts.push(facts(machine, speed), `![Speed and memory](${link})`, speedTable(sides, peaks));
    parts.push(peakNote(peaks), lossNote(sides), aimTable(aimsOf(results)));
    for (const [label, reason] of failuresOf(speed))
      parts.push(`Not measured: ${label} (\`${reason}\`).`);
  }
  if (generation)
    parts.push(
      `Generation (${generation.date}, load average before ${generation.loadBefore.toFixed(1)}; ${versionList(generation.versions)}):`,
      generationTable(generationSides(generation)),
      aimTable(generationAims(generation)),
    );
  if (scaling)
    parts.push(
      "Against the arithmetic (1.00 is what the standard workload's speed predicts; more is worse):",
      scalingTable(scalingOf(scaling)),
    );
  if (methods)
    parts.push(
      `Every method, the standard step (${methods.date}, load average before ${methods.loadBefore.toFixed(1)}):`,
      methodTable(methods),
    );
  if (quality) {
    await mkdir(PICTURES_FOLDER, { recursive: true });
    const picture = join(PICTURES_FOLDER, `${kind}-quality.svg`);
    const rows = qualityRows(quality);
    const words = `The quickstart's task, ${quality.steps} steps, ${title(machine)} (${quality.date})`;
    await writeFileAtomically(picture, drawQualityPicture(rows, words));
    parts.push(
      `Every method on one task, the quickstart's, after ${quality.steps} steps (${quality.date}):`,
      `![Quality](pictures/${basename(picture)})`,
      qualityTable(rows),
      qualityNote(quality),
    );
  }
  return parts.filter((part) => part !== "").join("\n\n");
}

/** Seconds depend on what runs beside. */
function qualityNote({ jobs, threads, versions, measured }: QualitySession): string {
  const failures = measured.flatMap(({ name, report }) =>
    isFailure(report) ? [`${name} (\`${report.failed}\`)`] : [],
  );
  const together = jobs > 1 ? `, of a run among ${jobs} at once` : "";
  return (
    `Seconds are those of training on ${threads} threads${together}. ${versionList(versions)}.` +
    (failures.length > 0 ? ` Failed: ${failures.join(", ")}.` : "")
  );
}

/** Ours beside PEFT's, where it has the method; medians of the rounds. */
function methodTable(session: MethodsSession): string {
  const labels = [...new Set(session.measured.map(({ name }) => name))];
  const of = (name: string) => {
    const reports = reportsOf(session.measured, name);
    const [first] = reports;
    return (
      first && {
        trained: first.trainable_parameters ?? 0,
        fileBytes: first.file_bytes ?? 0,
        speed: median(reports.map((report) => report.tokens_per_second)),
        memory: median(reports.map((report) => report.peak_rss_bytes)),
      }
    );
  };
  const rows = labels
    .filter((label) => !label.endsWith(" (PEFT)"))
    .map((label) => {
      const own = of(label);
      const theirs = of(`${label} (PEFT)`);
      if (!own) return [label, "", "", "not measured", "", "", ""];
      return [
        label,
        own.trained.toLocaleString("en"),
        `${(own.fileBytes / 1000).toFixed(0)} kB`,
        own.speed.toFixed(0),
        theirs ? (own.speed / theirs.speed).toFixed(2) : "",
        `${(own.memory / GIB).toFixed(2)} GiB`,
        theirs ? (own.memory / theirs.memory).toFixed(2) : "",
      ];
    });
  return table(["", "trained", "adapter", "tokens/s", "× PEFT", "peak memory", "× PEFT"], rows);
}

const title = ({ processor, features, cores }: MachineFacts): string =>
  `${processor}, ${cores} cores, ${features.includes("AVX-512") ? "AVX-512" : (features[0] ?? "")}`;

const versionList = (versions: Readonly<Record<string, string>>): string =>
  Object.entries(versions)
    .map(([name, version]) => `${name} ${version}`)
    .join(", ");

function facts(machine: MachineFacts, session: Session<object>): string {
  return (
    `${session.date}; ${machine.system}, ${machine.features.join(", ")}; ` +
    `${(machine.memory / GIB).toFixed(0)} GiB memory; load average before the run ` +
    `${session.loadBefore.toFixed(1)}; ${versionList(session.versions)}.`
  );
}

const roof = (peaks: Peaks | undefined): number | undefined =>
  peaks && Math.max(peaks.tunesmith, peaks.torch ?? 0) / GFLOP_PER_TOKEN;

function speedTable(sides: readonly Side[], peaks: Peaks | undefined): string {
  const eager = sides.find(({ name }) => name === "peft-eager");
  return table(
    ["", "tokens/s", "rounds", "× PEFT eager", "of GEMM peak", "peak memory", "first step"],
    sides.map(({ name, label, tokensPerSecond, range, peakBytes, secondsToFirstStep }) => [
      label,
      tokensPerSecond.toFixed(0),
      range.map((speed) => speed.toFixed(0)).join("–"),
      eager ? (tokensPerSecond / eager.tokensPerSecond).toFixed(2) : "",
      // The arithmetic is that of the whole loss.
      peaks && !name.endsWith("quarter")
        ? percent((tokensPerSecond * GFLOP_PER_TOKEN) / peaks.tunesmith)
        : "",
      `${(peakBytes / GIB).toFixed(2)} GiB`,
      `${secondsToFirstStep.toFixed(1)} s`,
    ]),
  );
}

function peakNote(peaks: Peaks | undefined): string {
  if (!peaks) return "";
  const torch = peaks.torch === undefined ? "" : `, torch's ${peaks.torch.toFixed(0)}`;
  return (
    `GEMM peak (1024 × 576 × 1536, best of all rounds): ONNX Runtime's ${peaks.tunesmith.toFixed(0)} ` +
    `GFLOP/s${torch}. At ${GFLOP_PER_TOKEN.toFixed(2)} GFLOP a token the roof of any float32 ` +
    `implementation on this machine is ${roof(peaks)!.toFixed(0)} tokens/s.`
  );
}

/** Sides that train on the same labels start from the same loss, or they did not run the same step. */
function lossNote(sides: readonly Side[]): string {
  const rounded = sides.find(({ name }) => name === "tunesmith-int8");
  const losses = sides
    .filter(({ name }) => !name.endsWith("quarter") && name !== rounded?.name)
    .map(({ label, firstLoss }) => ({ label, firstLoss }));
  const apart = relativeSpread(losses.map(({ firstLoss }) => firstLoss));
  if (losses.length < 2) return "";
  if (apart <= LOSS_TOLERANCE)
    return (
      `Loss of the first step: ${losses[0]!.firstLoss.toFixed(4)} on all sides (${apart.toExponential(0)} apart)` +
      `${rounded ? `, ${rounded.firstLoss.toFixed(4)} with products in int8` : ""}.`
    );
  const list = losses.map(({ label, firstLoss }) => `${label} ${firstLoss.toFixed(4)}`);
  return `**The sides did not run the same step**: losses of the first step are ${list.join(", ")}.`;
}

const relativeSpread = (values: readonly number[]): number =>
  (Math.max(...values) - Math.min(...values)) / Math.max(...values);

const generationTable = (sides: readonly GenerationSide[]): string =>
  table(
    [
      "tokens/s",
      "reading 512",
      "writing, 1 sequence",
      "writing, 8 sequences",
      "first token",
      "peak memory",
    ],
    sides.map(({ label, reads, writes, writesAll, secondsToFirstToken, peakBytes }) => [
      label,
      reads.toFixed(0),
      writes.toFixed(1),
      writesAll.toFixed(0),
      `${secondsToFirstToken.toFixed(1)} s`,
      `${(peakBytes / GIB).toFixed(2)} GiB`,
    ]),
  );

const aimTable = (aims: readonly Aim[]): string =>
  table(
    ["aim", "measured", "aimed at", ""],
    aims.map(({ what, measured, aim, met }) => [what, measured, aim, met ? "met" : "**not met**"]),
  );

const scalingTable = (points: readonly ScalingPoint[]): string =>
  table(
    ["", "step", "seconds", "by arithmetic", "ratio", "peak memory"],
    points.map(({ name, shape, seconds, predictedSeconds, peakBytes }) => [
      name,
      shape,
      seconds.toFixed(2),
      predictedSeconds.toFixed(2),
      (seconds / predictedSeconds).toFixed(2),
      `${(peakBytes / GIB).toFixed(2)} GiB`,
    ]),
  );

if (import.meta.main) console.log(await writePage());
