// From the runs of bench/quality.ts to what is shown: a row for each method, best first, ours beside
// the peer's.

import { table } from "./markdown-table.ts";
import type { QualityReport } from "./quality-run.ts";
import type { QualitySession } from "./results.ts";
import { reportsOf } from "./session.ts";
import { mean } from "./statistics.ts";

/** One side's runs of a method; lists have one number a seed. */
export interface QualitySide {
  /** Share of the messages answered right to the letter. */
  readonly right: readonly number[];
  readonly heldOutLoss: readonly number[];
  /** Of training; mean over the seeds. */
  readonly seconds: number;
  readonly trainable: number;
}

export interface QualityRow {
  readonly label: string;
  /** Peak of the schedule, for both sides. */
  readonly learningRate: number;
  readonly ours: QualitySide;
  readonly peer?: QualitySide;
}

/** The methods whose runs came off, the most right answers first. */
export function qualityRows({ measured }: QualitySession): QualityRow[] {
  const labels = new Set(measured.map(({ name }) => name).filter((name) => !isPeer(name)));
  return [...labels]
    .flatMap((label): QualityRow[] => {
      const own = reportsOf(measured, label);
      const peer = sideOf(reportsOf(measured, peerName(label)));
      const ours = sideOf(own);
      return ours ? [{ label, learningRate: own[0]!.learning_rate, ours, peer }] : [];
    })
    .sort(
      (a, b) =>
        mean(b.ours.right) - mean(a.ours.right) ||
        mean(a.ours.heldOutLoss) - mean(b.ours.heldOutLoss),
    );
}

/** Under which name a method's peer is measured. */
export const peerName = (label: string): string => `${label} (PEFT)`;
const isPeer = (name: string): boolean => name.endsWith(peerName(""));

function sideOf(reports: readonly QualityReport[]): QualitySide | undefined {
  if (reports.length === 0) return undefined;
  return {
    right: reports.map((one) => one.exact_match!),
    heldOutLoss: reports.map((one) => one.held_out_loss),
    seconds: mean(reports.map((one) => one.seconds)),
    trainable: reports[0]!.trainable_parameters,
  };
}

/** The rows as a table. */
export function qualityTable(rows: readonly QualityRow[]): string {
  const shares = (side?: QualitySide) =>
    side?.right.map((share) => `${(100 * share).toFixed(0)} %`).join(", ") ?? "";
  const loss = (side?: QualitySide) => (side ? mean(side.heldOutLoss).toFixed(3) : "");
  const seconds = (side?: QualitySide) => side?.seconds.toFixed(0) ?? "";
  const head = ["trained", "rate", "right", "PEFT", "loss", "PEFT", "seconds", "PEFT"];
  return table(
    ["", ...head],
    rows.map(({ label, learningRate, ours, peer }) => [
      label,
      ours.trainable.toLocaleString("en"),
      String(learningRate),
      ...[shares(ours), shares(peer), loss(ours), loss(peer), seconds(ours), seconds(peer)],
    ]),
  );
}
