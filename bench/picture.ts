// Speed and memory of every side as bars: an SVG that reads on light and dark pages.

import type { Side } from "./summary.ts";
import { escapeXml } from "./svg-text.ts";

const WIDTH = 760;
const ROW = 44;
const TOP = 64;
const LABEL_WIDTH = 230;
const BAR_WIDTH = WIDTH - LABEL_WIDTH - 110;
const OURS = { speed: "#1f6fb4", memory: "#9ec1e6" } as const;
const THEIRS = { speed: "#8a8a8a", memory: "#c9c9c9" } as const;

/** Bars of tokens/s (with the roof that arithmetic sets, in tokens/s) over bars of peak memory. */
export function drawSpeedPicture(
  sides: readonly Side[],
  roof: number | undefined,
  title: string,
): string {
  const height = TOP + sides.length * ROW + 24;
  const fastest = Math.max(roof ?? 0, ...sides.map((side) => side.tokensPerSecond));
  const largest = Math.max(...sides.map((side) => side.peakBytes));
  const rows = sides.map((side, i) => {
    const y = TOP + i * ROW;
    const colors = side.name.startsWith("tunesmith") ? OURS : THEIRS;
    const speed = (BAR_WIDTH * side.tokensPerSecond) / fastest;
    const memory = (BAR_WIDTH * side.peakBytes) / largest;
    const gibibytes = (side.peakBytes / 2 ** 30).toFixed(2);
    return [
      text(LABEL_WIDTH - 8, y + 21, side.label, "end"),
      bar(y, speed, 18, colors.speed),
      text(LABEL_WIDTH + speed + 6, y + 14, `${side.tokensPerSecond.toFixed(0)} tokens/s`),
      bar(y + 20, memory, 12, colors.memory),
      text(LABEL_WIDTH + memory + 6, y + 31, `${gibibytes} GiB`),
    ].join("");
  });
  const roofX = roof === undefined ? undefined : LABEL_WIDTH + (BAR_WIDTH * roof) / fastest;
  const roofLine =
    roofX === undefined
      ? ""
      : `<line x1="${round(roofX)}" x2="${round(roofX)}" y1="${TOP - 8}" y2="${height - 20}" ` +
        'stroke="#d1495b" stroke-dasharray="4 3"/>' +
        text(roofX, TOP - 14, `GEMM peak: ${roof!.toFixed(0)} tokens/s`, "end", "#d1495b");
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" width="${WIDTH}" height="${height}" ` +
      `viewBox="0 0 ${WIDTH} ${height}" font-family="sans-serif" font-size="12">`,
    `<title>${escapeXml(title)}</title>`,
    text(16, 24, `LoRA step, SmolLM2-135M, 4 × 256 tokens, float32: ${title}`),
    roofLine,
    ...rows,
    "</svg>\n",
  ].join("\n");
}

const bar = (y: number, width: number, height: number, color: string): string =>
  `<rect x="${LABEL_WIDTH}" y="${y}" width="${round(width)}" height="${height}" fill="${color}"/>`;

/** Grey that is readable on white and on black. */
const text = (x: number, y: number, words: string, anchor = "start", color = "#808080"): string =>
  `<text x="${round(x)}" y="${round(y)}" text-anchor="${anchor}" fill="${color}">${escapeXml(words)}</text>`;

const round = (value: number): number => Math.round(value * 10) / 10;
