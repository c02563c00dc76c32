import { expect, it } from "vitest";
import { drawLossPicture, type LossCurves, plotLoss, smoothLoss } from "./loss-picture.ts";

const curves: LossCurves = {
  training: Array.from({ length: 100 }, (_, i) => ({ step: i + 1, loss: 3 * 0.97 ** i + 0.2 })),
  evaluation: [0, 50, 100].map((step) => ({ step, loss: 3 - step / 50 })),
};

function pointsOf(svg: string): number[][][] {
  return [...svg.matchAll(/points="([^"]*)"/g)].map(([, points]) =>
    points!.split(" ").map((point) => point.split(",").map(Number)),
  );
}

it("draws falling losses as lines that fall, within the frame", () => {
  const svg = drawLossPicture(curves, "a < b & c");
  const lines = pointsOf(svg);
  expect(lines.map((line) => line.length)).toEqual([100, 100, 3]);
  for (const line of lines) {
    expect(line.at(-1)![0]).toBeGreaterThan(line[0]![0]!);
    expect(line.at(-1)![1]).toBeGreaterThan(line[0]![1]!);
    for (const [x, y] of line) {
      expect(x).toBeGreaterThanOrEqual(64);
      expect(x).toBeLessThanOrEqual(776);
      expect(y).toBeGreaterThanOrEqual(48);
      expect(y).toBeLessThanOrEqual(402);
    }
  }
  expect(svg).toContain("a &#60; b &#38; c");
  expect(svg).not.toContain("NaN");
});

it.each<[string, LossCurves]>([
  ["nothing", { training: [], evaluation: [] }],
  ["one step", { training: [{ step: 1, loss: 2 }], evaluation: [] }],
  ["equal losses", { training: [1, 2, 3].map((step) => ({ step, loss: 2 })), evaluation: [] }],
  ["losses of zero", { training: [1, 2].map((step) => ({ step, loss: 0 })), evaluation: [] }],
])("draws %s without a number that is none", (_, few) => {
  expect(drawLossPicture(few)).not.toMatch(/NaN|Infinity|undefined/);
  expect(plotLoss(few)).not.toMatch(/NaN|Infinity|undefined/);
});

it("draws a long run with no more points than a picture shows", () => {
  const training = Array.from({ length: 50_000 }, (_, step) => ({
    step,
    loss: 1 + 1 / (step + 1),
  }));
  const [line] = pointsOf(drawLossPicture({ training, evaluation: [] }));
  expect(line!.length).toBeLessThan(1100);
  expect(line!.at(-1)![0]).toBeGreaterThan(770);
});

it("smooths over a twentieth of the curve", () => {
  const points = Array.from({ length: 40 }, (_, i) => ({ step: i, loss: i % 2 }));
  expect(
    smoothLoss(points)
      .slice(1)
      .every(({ loss }) => loss === 0.5),
  ).toBe(true);
});

it("plots for a terminal within the width", () => {
  const lines = plotLoss(curves, { width: 60, height: 6 }).split("\n");
  expect(lines.length).toBe(7);
  for (const line of lines) expect(line.length).toBeLessThanOrEqual(60);
  expect(lines[0]).toContain("3.2");
});
