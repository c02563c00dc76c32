// Numbers as people read them, and small pictures made of characters.

import { relative, resolve } from "node:path";
import type { Evaluation } from "../train/index.ts";

/** A path as one would type it here: relative to the current folder where that is shorter. */
export function shortPath(path: string): string {
  const short = relative(process.cwd(), resolve(path)) || ".";
  return short.length < path.length ? short : path;
}

/** What an evaluation measured beside the loss, as names and numbers. */
export function measures({ perplexity, accuracy, macroF1 }: Evaluation): [string, string][] {
  const named: [string, number | undefined, digits: number][] = [
    ["perplexity", perplexity, 2],
    ["accuracy", accuracy, 4],
    ["macro F1", macroF1, 4],
  ];
  return named.flatMap(([name, value, digits]) =>
    value === undefined ? [] : [[name, value.toFixed(digits)]],
  );
}

/** 1536 → "1.5 kB"; steps of 1000, as disks and memory are sold. */
export function formatBytes(bytes: number): string {
  return withUnit(bytes, ["B", "kB", "MB", "GB", "TB"]);
}

/** 134515008 → "134.5 M". */
export function formatCount(count: number): string {
  return count < 10_000 ? String(count) : withUnit(count, ["", "k", "M", "B", "T"]);
}

function withUnit(value: number, units: readonly string[]): string {
  let power = 0;
  let rest = value;
  while (rest >= 999.5 && power < units.length - 1) {
    rest /= 1000;
    power++;
  }
  const digits = power === 0 || rest >= 99.95 ? 0 : 1;
  return `${rest.toFixed(digits)} ${units[power]}`.trimEnd();
}

/** 75.4 → "1m 15s"; the two largest units. */
export function formatDuration(seconds: number): string {
  if (seconds < 9.95) return `${seconds.toFixed(1)}s`;
  const whole = Math.round(seconds);
  if (whole < 60) return `${whole}s`;
  const minutes = Math.floor(whole / 60);
  if (minutes < 60) return `${minutes}m ${String(whole % 60).padStart(2, "0")}s`;
  const hours = Math.floor(minutes / 60);
  if (hours < 48) return `${hours}h ${String(minutes % 60).padStart(2, "0")}m`;
  return `${Math.floor(hours / 24)}d ${hours % 24}h`;
}

const BARS = "▁▂▃▄▅▆▇█";

/** A line of values as bars; `width` values at most, each the mean of its share of the line. */
export function sparkline(values: readonly number[], width: number): string {
  const finite = values.filter(Number.isFinite);
  if (finite.length === 0 || width < 1) return "";
  const count = Math.min(width, finite.length);
  const means = Array.from({ length: count }, (_, index) => {
    const share = finite.slice(
      Math.floor((index * finite.length) / count),
      Math.floor(((index + 1) * finite.length) / count),
    );
    return share.reduce((sum, value) => sum + value, 0) / share.length;
  });
  const low = Math.min(...means);
  const range = Math.max(...means) - low || 1;
  return means
    .map((value) => BARS[Math.round(((value - low) / range) * (BARS.length - 1))])
    .join("");
}

/** Rows as columns of equal width, two spaces between; the last column is as long as it is. */
export function formatTable(rows: readonly (readonly string[])[]): string {
  const widths: number[] = [];
  for (const row of rows)
    for (const [column, cell] of row.slice(0, -1).entries())
      widths[column] = Math.max(widths[column] ?? 0, cell.length);
  return rows
    .map((row) => row.map((cell, column) => cell.padEnd(widths[column] ?? 0)).join("  "))
    .map((line) => `${line.trimEnd()}\n`)
    .join("");
}
