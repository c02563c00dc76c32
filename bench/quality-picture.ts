// Quality against what a method trains, and against the time that it takes: two scatter plots in one
// SVG that reads on light and dark pages. Ours are filled, a peer's of the same method hollow, and a
// line joins them.

import {
  type Box,
  FREE_DISTANCE,
  middleOf,
  type Placed,
  type Point,
  placeLabels,
} from "./label-placement.ts";
import { FAMILIES, familyOf } from "./method-families.ts";
import type { QualityRow, QualitySide } from "./quality-summary.ts";
import { mean } from "./statistics.ts";
import { escapeXml } from "./svg-text.ts";

const WIDTH = 920;
const LEGEND = { x: 56, y: 44, line: 18, columns: 3 };
const PANEL: Box = { x: 56, y: 112, width: WIDTH - 72, height: 460 };
const BETWEEN = PANEL.height + 66;
const RADIUS = 5;
const GREY = "#808080";
const SHARES = [0, 0.5, 0.75, 0.9, 0.95, 0.98, 0.99];

interface Axis {
  readonly title: string;
  readonly of: (side: QualitySide) => number;
}

const AXES: readonly Axis[] = [
  { title: "trained parameters", of: ({ trainable }) => trainable },
  { title: "seconds of training", of: ({ seconds }) => seconds },
];

/** The share of right answers over both axes; every method's point is named. */
export function drawQualityPicture(rows: readonly QualityRow[], title: string): string {
  const height = PANEL.y + AXES.length * BETWEEN;
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" width="${WIDTH}" height="${height}" ` +
      `viewBox="0 0 ${WIDTH} ${height}" font-family="sans-serif" font-size="11">`,
    `<title>${escapeXml(title)}</title>`,
    `<text x="16" y="22" font-size="14" fill="${GREY}">${escapeXml(title)}</text>`,
    legend(),
    ...AXES.map((axis, i) => `<g transform="translate(0 ${i * BETWEEN})">${panel(rows, axis)}</g>`),
    "</svg>\n",
  ].join("\n");
}

function legend(): string {
  const place = (i: number): Point => ({
    x: LEGEND.x + (i % LEGEND.columns) * 225,
    y: LEGEND.y + Math.floor(i / LEGEND.columns) * LEGEND.line,
  });
  const entries = Object.values(FAMILIES).map(({ words, color }, i) => {
    const { x, y } = place(i);
    return circle({ x, y }, color, true) + text({ x: x + 10, y: y + 4 }, words);
  });
  const side = { x: LEGEND.x + LEGEND.columns * 225, y: LEGEND.y };
  const lower = { x: side.x, y: side.y + LEGEND.line };
  return [
    ...entries,
    circle(side, GREY, true) + text({ x: side.x + 10, y: side.y + 4 }, "tunesmith"),
    circle(lower, GREY, false) + text({ x: lower.x + 10, y: lower.y + 4 }, "PEFT"),
  ].join("");
}

function panel(rows: readonly QualityRow[], { title, of }: Axis): string {
  const sides = rows.flatMap(({ ours, peer }) => (peer ? [ours, peer] : [ours]));
  const across = logarithmic(sides.map(of), PANEL);
  const up = errorScale(sides);
  const at = (side: QualitySide): Point => ({ x: across.at(of(side)), y: up(mean(side.right)) });
  const points = rows.map(({ label, ours }) => ({ ...at(ours), words: label }));
  const marks = rows.flatMap((row) => marksOf(row, at));
  const places = placeLabels(points, marks, PANEL);
  const [right, bottom] = [PANEL.x + PANEL.width, PANEL.y + PANEL.height];
  return [
    ...SHARES.filter((share) => up(share) > PANEL.y).map(
      (share) =>
        line({ x: PANEL.x, y: up(share) }, { x: right, y: up(share) }, "#80808038") +
        text({ x: PANEL.x - 8, y: up(share) + 4 }, `${100 * share} %`, "end"),
    ),
    ...across.ticks.map(
      (tick) =>
        line({ x: across.at(tick), y: PANEL.y }, { x: across.at(tick), y: bottom }, "#80808020") +
        text({ x: across.at(tick), y: bottom + 16 }, tick.toLocaleString("en"), "middle"),
    ),
    text({ x: PANEL.x + PANEL.width / 2, y: bottom + 34 }, title, "middle"),
    text({ x: PANEL.x + 6, y: PANEL.y - 6 }, "right answers"),
    ...rows.map((row) => pair(row, at)),
    ...rows.map(({ label }, i) => words(label, points[i]!, places[i]!)),
  ].join("");
}

/** A method's two circles, how far its seeds lie apart, and the line between the sides. */
function pair({ label, ours, peer }: QualityRow, at: (side: QualitySide) => Point): string {
  const { color } = FAMILIES[familyOf(label)];
  const spread = (side: QualitySide) => line(...endsOf(side, at), `${color}80`, 2);
  return [
    `<g><title>${escapeXml(label)}</title>`,
    peer ? line(at(ours), at(peer), `${color}80`) : "",
    peer ? spread(peer) + circle(at(peer), color, false) : "",
    spread(ours) + circle(at(ours), color, true),
    "</g>",
  ].join("");
}

/** Where the worst and the best seed of a side are. */
function endsOf(side: QualitySide, at: (side: QualitySide) => Point): [Point, Point] {
  const [low, high] = [Math.min(...side.right), Math.max(...side.right)];
  return [at({ ...side, right: [low] }), at({ ...side, right: [high] })];
}

/** What of `pair` no words may cover: circles, and lines as chains of small boxes. */
function marksOf({ ours, peer }: QualityRow, at: (side: QualitySide) => Point): Box[] {
  const around = ({ x, y }: Point, radius: number): Box => ({
    x: x - radius,
    y: y - radius,
    width: 2 * radius,
    height: 2 * radius,
  });
  const along = (from: Point, to: Point): Box[] => {
    const count = Math.ceil(Math.hypot(to.x - from.x, to.y - from.y) / 6);
    return Array.from({ length: count }, (_, i) => {
      const share = i / count;
      const at = { x: from.x + share * (to.x - from.x), y: from.y + share * (to.y - from.y) };
      return around(at, 2);
    });
  };
  return [
    ...(peer ? [ours, peer] : [ours]).flatMap((side) => [
      around(at(side), RADIUS + 2),
      ...along(...endsOf(side, at)),
    ]),
    ...(peer ? along(at(ours), at(peer)) : []),
  ];
}

/** A name beside its point; one that is far gets a line that leads to it. */
function words(label: string, point: Point, place: Placed): string {
  const middle = middleOf(place);
  const { color } = FAMILIES[familyOf(label)];
  const nearest = {
    x: Math.min(Math.max(point.x, place.x), place.x + place.width),
    y: Math.min(Math.max(point.y, place.y + 3), place.y + place.height - 3),
  };
  const lead = place.distance > FREE_DISTANCE ? line(point, nearest, `${color}a0`, 0.7) : "";
  return lead + text({ x: middle.x, y: middle.y + 4 }, label, "middle", color);
}

/** Equal factors of wrong answers are equally far apart: 90 % and 95 % as 80 % and 90 %. */
function errorScale(sides: readonly QualitySide[]): (share: number) => number {
  const least = 0.5 * Math.min(...sides.flatMap(({ right }) => right.map((share) => 1 - share)));
  const lowest = Math.max(least, 0.005);
  const bottom = PANEL.y + PANEL.height - 16;
  const scale = (bottom - PANEL.y) / Math.log(1 / lowest);
  return (share) => bottom + Math.log(Math.max(1 - share, lowest)) * scale;
}

interface LogAxis {
  readonly at: (value: number) => number;
  readonly ticks: readonly number[];
}

function logarithmic(values: readonly number[], { x, width }: Box): LogAxis {
  const [low, high] = [Math.log10(Math.min(...values)), Math.log10(Math.max(...values))];
  const margin = 0.06 * (high - low || 1);
  const [from, to] = [low - margin, high + margin];
  const steps = high - low > 2 ? [1] : high - low > 1 ? [1, 2, 5] : [1, 1.5, 2, 3, 4, 5, 7];
  const decades = Array.from({ length: 20 }, (_, i) => 10 ** (i - 3));
  return {
    at: (value) => x + ((Math.log10(value) - from) / (to - from)) * width,
    ticks: decades
      .flatMap((decade) => steps.map((step) => step * decade))
      .filter((tick) => Math.log10(tick) >= from && Math.log10(tick) <= to),
  };
}

const circle = ({ x, y }: Point, color: string, isFilled: boolean): string =>
  `<circle cx="${round(x)}" cy="${round(y)}" r="${RADIUS}" stroke="${color}" stroke-width="1.5" ` +
  `fill="${isFilled ? color : "none"}"/>`;

const line = (from: Point, to: Point, color: string, width = 1): string =>
  `<line x1="${round(from.x)}" y1="${round(from.y)}" x2="${round(to.x)}" y2="${round(to.y)}" ` +
  `stroke="${color}" stroke-width="${width}"/>`;

const text = ({ x, y }: Point, words: string, anchor = "start", color = GREY): string =>
  `<text x="${round(x)}" y="${round(y)}" text-anchor="${anchor}" fill="${color}">${escapeXml(words)}</text>`;

const round = (value: number): number => Math.round(value * 10) / 10;
