// Quality against what a method trains and against the time that it takes, as two scatter plots in one
// SVG that reads on light and dark pages. Ours are blue, a peer's of the same method grey.

import type { QualityRow } from "./results.ts";
import { mean } from "./statistics.ts";
import { escapeXml } from "./svg-text.ts";

const PANEL = { width: 470, height: 380, left: 56, top: 44, right: 16, bottom: 46 };
const isPeer = ({ name }: QualityRow): boolean => name.endsWith(" (PEFT)");

interface Axis {
  readonly title: string;
  readonly of: (row: QualityRow) => number;
  readonly isLogarithmic: boolean;
}

const AXES: readonly Axis[] = [
  { title: "trained parameters", of: ({ trainable }) => trainable, isLogarithmic: true },
  { title: "seconds of training", of: ({ seconds }) => seconds, isLogarithmic: false },
];

/** The share of right answers over both axes; every method's point is named. */
export function drawQualityPicture(rows: readonly QualityRow[], title: string): string {
  const width = AXES.length * PANEL.width;
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" width="${width}" height="${PANEL.height}" ` +
      `viewBox="0 0 ${width} ${PANEL.height}" font-family="sans-serif" font-size="11">`,
    `<title>${escapeXml(title)}</title>`,
    label(12, 20, title, "start"),
    ...AXES.map(
      (axis, i) => `<g transform="translate(${i * PANEL.width} 0)">${panel(rows, axis)}</g>`,
    ),
    "</svg>\n",
  ].join("\n");
}

function panel(rows: readonly QualityRow[], { title, of, isLogarithmic }: Axis): string {
  const shown = rows.filter((row) => of(row) > 0);
  const scaled = (value: number) => (isLogarithmic ? Math.log10(value) : value);
  const values = shown.map((row) => scaled(of(row)));
  const [low, high] = [isLogarithmic ? Math.min(...values) - 0.1 : 0, Math.max(...values) * 1.05];
  const { width, height, left, top, right, bottom } = PANEL;
  const x = (value: number) =>
    left + ((scaled(value) - low) / (high - low || 1)) * (width - left - right);
  const y = (share: number) => height - bottom - share * (height - top - bottom);
  const grid = [0, 0.25, 0.5, 0.75, 1].map(
    (share) =>
      `<line x1="${left}" x2="${width - right}" y1="${round(y(share))}" y2="${round(y(share))}" stroke="#80808040"/>` +
      label(left - 6, y(share) + 4, `${100 * share} %`, "end"),
  );
  const points = shown.map((row) => {
    const [cx, cy] = [x(of(row)), y(mean(row.exactMatch))];
    const color = isPeer(row) ? "#8a8a8a" : "#1f6fb4";
    const dot = `<circle cx="${round(cx)}" cy="${round(cy)}" r="4" fill="${color}"><title>${escapeXml(row.name)}</title></circle>`;
    const beyondMiddle = cx > width / 2;
    const words = label(
      cx + (beyondMiddle ? -7 : 7),
      cy + 4,
      row.name,
      beyondMiddle ? "end" : "start",
    );
    return isPeer(row) ? dot : dot + words;
  });
  const ends = [
    shown[values.indexOf(Math.min(...values))]!,
    shown[values.indexOf(Math.max(...values))]!,
  ];
  const marks = ends.map((row) =>
    label(x(of(row)), height - bottom + 16, Math.round(of(row)).toLocaleString("en"), "middle"),
  );
  return [
    ...grid,
    ...marks,
    label((left + width) / 2, height - 10, title, "middle"),
    ...points,
  ].join("");
}

const label = (x: number, y: number, words: string, anchor: "start" | "middle" | "end"): string =>
  `<text x="${round(x)}" y="${round(y)}" text-anchor="${anchor}" fill="#808080">${escapeXml(words)}</text>`;

const round = (value: number): number => Math.round(value * 10) / 10;
