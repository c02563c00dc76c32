// From measurements of generation to the figures that are shown: medians over rounds, and aims.

import type { GenerationReport } from "./generation-report.ts";
import type { GenerationSession } from "./results.ts";
import { reportsOf } from "./session.ts";
import { median } from "./statistics.ts";
import type { Aim } from "./summary.ts";

const LABELS: Readonly<Record<string, string>> = {
  "tunesmith-q4": "tunesmith, q4",
  "llama.cpp-q4": "llama.cpp, Q4_1",
  "tunesmith-float32": "tunesmith, float32",
  "transformers-float32": "Transformers, float32",
};

export interface GenerationSide {
  readonly name: string;
  readonly label: string;
  /** Tokens a second, see `GenerationReport`. */
  readonly reads: number;
  readonly writes: number;
  readonly writesAll: number;
  readonly secondsToFirstToken: number;
  readonly peakBytes: number;
  readonly adaptersRatio: number | undefined;
}

/** What was measured, in the order of the labels. */
export function generationSides(session: GenerationSession): GenerationSide[] {
  return Object.entries(LABELS).flatMap(([name, label]) => {
    const reports: readonly GenerationReport[] = reportsOf(session.measured, name);
    if (reports.length === 0) return [];
    const of = (figure: (report: GenerationReport) => number) => median(reports.map(figure));
    const ratios = reports.flatMap(({ adapters_ratio: ratio }) => ratio ?? []);
    return {
      name,
      label,
      reads: of((report) => report.read_tokens_per_second),
      writes: of((report) => report.write_tokens_per_second),
      writesAll: of((report) => report.write_all_tokens_per_second),
      secondsToFirstToken: of((report) => report.seconds_to_first_token),
      peakBytes: of((report) => report.peak_rss_bytes),
      adaptersRatio: ratios.length > 0 ? median(ratios) : undefined,
    };
  });
}

export function generationAims(session: GenerationSession): Aim[] {
  const sides = new Map(generationSides(session).map((side) => [side.name, side]));
  const [q4, llama] = [sides.get("tunesmith-q4"), sides.get("llama.cpp-q4")];
  const [own, theirs] = [sides.get("tunesmith-float32"), sides.get("transformers-float32")];
  const aims: Aim[] = [];
  const times = (what: string, value: number, limit: number, isMost = false) =>
    aims.push({
      what,
      measured: `${value.toFixed(2)}×`,
      aim: `${isMost ? "≤" : "≥"} ${limit}×`,
      met: isMost ? value <= limit : value >= limit,
    });
  if (q4 && llama) {
    times("q4, one sequence, against llama.cpp", q4.writes / llama.writes, 1);
    times("q4, eight sequences, against the same", q4.writesAll / llama.writesAll, 1.5);
    times("q4, reading a prompt, against the same", q4.reads / llama.reads, 1.5);
  }
  if (own && theirs)
    times("float32, one sequence, against Transformers", own.writes / theirs.writes, 1.7);
  if (own?.adaptersRatio !== undefined)
    times("eight adapters beside one, eight sequences: time", own.adaptersRatio, 1.3, true);
  if (own)
    aims.push({
      what: "process start to the first token, float32",
      measured: `${own.secondsToFirstToken.toFixed(1)} s`,
      aim: "≤ 2 s",
      met: own.secondsToFirstToken <= 2,
    });
  return aims;
}
