// The loss of a run as a picture: an SVG for the run folder, and a plot of characters for a terminal.

import asciichart from "asciichart";
import type { MetricEvent } from "./events.ts";

export interface LossPoint {
  readonly step: number;
  readonly loss: number;
}

export interface LossCurves {
  readonly training: readonly LossPoint[];
  readonly evaluation: readonly LossPoint[];
}

/** The curves in a run's metrics. */
export function lossCurves(events: readonly MetricEvent[]): LossCurves {
  const pick = (type: MetricEvent["type"]) =>
    events.filter((event) => event.type === type).map(({ step, loss }) => ({ step, loss }));
  return { training: pick("step-finished"), evaluation: pick("evaluation-finished") };
}

/**
 * A trailing mean over about a twentieth of the curve, which shows the direction of noisy losses.
 */
export function smoothLoss(points: readonly LossPoint[]): LossPoint[] {
  const window = Math.max(1, Math.round(points.length / 20));
  let sum = 0;
  return points.map((point, i) => {
    sum += point.loss;
    if (i >= window) sum -= points[i - window]!.loss;
    return { step: point.step, loss: sum / Math.min(window, i + 1) };
  });
}

/** At most about 1000 of the points, evenly: a picture shows no more. */
function thin(points: readonly LossPoint[]): readonly LossPoint[] {
  const stride = Math.ceil(points.length / 1000);
  return points.filter((_, i) => i % stride === 0 || i === points.length - 1);
}

const WIDTH = 800;
const HEIGHT = 450;
const MARGIN = { left: 64, right: 24, top: 48, bottom: 48 } as const;
const COLORS = { raw: "#9ec1e6", training: "#1f6fb4", evaluation: "#d1495b" } as const;

/** Draws the curves as an SVG of 800 by 450 pixels, readable on light and dark pages. */
export function drawLossPicture(curves: LossCurves, title = "Loss"): string {
  const all = [...curves.training, ...curves.evaluation];
  const steps = niceTicks(0, Math.max(1, ...boundsOf(all, "step")), 8).filter(Number.isInteger);
  const losses = niceTicks(...boundsOf(all, "loss"), 6);
  const x = scale(steps[0]!, steps.at(-1)!, MARGIN.left, WIDTH - MARGIN.right);
  const y = scale(losses[0]!, losses.at(-1)!, HEIGHT - MARGIN.bottom, MARGIN.top);
  const line = (points: readonly LossPoint[], color: string, width: number) =>
    points.length < 2
      ? ""
      : `<polyline fill="none" stroke="${color}" stroke-width="${width}" points="${points
          .map(({ step, loss }) => `${round(x(step))},${round(y(loss))}`)
          .join(" ")}"/>`;
  const dots = thin(curves.evaluation).map(
    ({ step, loss }) =>
      `<circle cx="${round(x(step))}" cy="${round(y(loss))}" r="4" fill="${COLORS.evaluation}"/>`,
  );
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${WIDTH} ${HEIGHT}" width="${WIDTH}" ` +
      `height="${HEIGHT}" font-family="system-ui, sans-serif" font-size="13">`,
    `<rect width="${WIDTH}" height="${HEIGHT}" fill="#ffffff"/>`,
    label(WIDTH / 2, 26, title, "middle", 'font-size="16" font-weight="600"'),
    ...losses.map((value) => {
      const at = round(y(value));
      const end = WIDTH - MARGIN.right;
      return (
        `<line x1="${MARGIN.left}" x2="${end}" y1="${at}" y2="${at}" stroke="#e3e3e3"/>` +
        label(MARGIN.left - 8, at + 4, tidy(value), "end")
      );
    }),
    ...steps.map((value) =>
      label(round(x(value)), HEIGHT - MARGIN.bottom + 20, tidy(value), "middle"),
    ),
    label(WIDTH / 2, HEIGHT - 10, "step", "middle"),
    line(thin(curves.training), COLORS.raw, 1),
    line(thin(smoothLoss(curves.training)), COLORS.training, 2),
    line(thin(curves.evaluation), COLORS.evaluation, 2),
    ...dots,
    label(WIDTH - MARGIN.right, 26, "training", "end", `fill="${COLORS.training}"`),
    curves.evaluation.length > 0
      ? label(WIDTH - MARGIN.right - 70, 26, "evaluation", "end", `fill="${COLORS.evaluation}"`)
      : "",
    "</svg>\n",
  ]
    .filter((part) => part !== "")
    .join("\n");
}

/** Draws the training loss with characters, at most `width` of them wide; empty without two steps. */
export function plotLoss(curves: LossCurves, { width = 72, height = 10 } = {}): string {
  const points = smoothLoss(curves.training);
  if (points.length < 2) return "";
  const columns = Math.min(points.length, Math.max(10, width - 10));
  const series = Array.from({ length: columns }, (_, column) => {
    const at = Math.round((column * (points.length - 1)) / (columns - 1));
    return points[at]!.loss;
  });
  return asciichart.plot([series], { height, format: (value) => value.toFixed(3).padStart(8) });
}

function boundsOf(points: readonly LossPoint[], field: "step" | "loss"): [number, number] {
  let low = Number.POSITIVE_INFINITY;
  let high = Number.NEGATIVE_INFINITY;
  for (const point of points) {
    low = Math.min(low, point[field]);
    high = Math.max(high, point[field]);
  }
  return points.length === 0 ? [0, 1] : [low, high];
}

/** Round numbers that cover low to high, about `count` of them: 1, 2 or 5 times a power of ten apart. */
function niceTicks(low: number, high: number, count: number): number[] {
  const span = high - low || Math.abs(high) || 1;
  const power = 10 ** Math.floor(Math.log10(span / count));
  const step = power * ([1, 2, 5, 10].find((factor) => factor * power * count >= span) ?? 10);
  const first = Math.floor(low / step);
  const last = Math.max(first + 1, Math.ceil(high / step));
  return Array.from({ length: last - first + 1 }, (_, i) => (first + i) * step);
}

function scale(from: number, to: number, start: number, end: number): (value: number) => number {
  return (value) => start + ((value - from) / (to - from)) * (end - start);
}

function round(value: number): number {
  return Math.round(value * 10) / 10;
}

function tidy(value: number): string {
  return String(Number(value.toPrecision(6)));
}

function label(
  x: number,
  y: number,
  text: string,
  anchor: string,
  more = 'fill="#444444"',
): string {
  const safe = text.replace(/[<>&]/g, (symbol) => `&#${symbol.charCodeAt(0)};`);
  return `<text x="${x}" y="${y}" text-anchor="${anchor}" ${more}>${safe}</text>`;
}
