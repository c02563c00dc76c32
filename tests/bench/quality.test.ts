// bench:quality without its runs: which rates a sweep tries, which runs are planned, what is shown.

import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { overlap, placeLabels } from "../../bench/label-placement.ts";
import {
  bestRate,
  ratesToTry,
  readSweeps,
  type Sweeps,
  type TriedRate,
  triedAt,
  withTried,
  writeSweeps,
} from "../../bench/learning-rates.ts";
import { drawQualityPicture } from "../../bench/quality-picture.ts";
import { chosenRate, comparedMethods, comparison, nextTrials } from "../../bench/quality-plan.ts";
import { qualityRows, qualityTable } from "../../bench/quality-summary.ts";
import type { QualitySession } from "../../bench/results.ts";
import type { Planned } from "../../bench/session.ts";

const tried = (losses: Readonly<Record<string, number | null>>): TriedRate[] =>
  Object.entries(losses).map(([rate, loss]) => ({ rate: Number(rate), loss }));

describe("rates of a sweep", () => {
  it("begin around the usual one, a factor of 3 apart", () => {
    expect(ratesToTry(4e-3, [])).toEqual([0.0013, 0.004, 0.012, 0.036]);
    expect(ratesToTry(4e-3, tried({ 0.0013: 1, 0.012: 2 }))).toEqual([0.004, 0.036]);
  });

  it("end where the best lies between others", () => {
    expect(ratesToTry(4e-3, tried({ 0.0013: 3, 0.004: 1, 0.012: 2, 0.036: null }))).toEqual([]);
  });

  it("go on beyond an end that is the best, to a limit", () => {
    const rising = { 0.0013: 4, 0.004: 3, 0.012: 2, 0.036: 1 };
    expect(ratesToTry(4e-3, tried(rising))).toEqual([0.11]);
    expect(ratesToTry(4e-3, tried({ ...rising, 0.0013: 0.5 }))).toEqual([0.00044]);
    expect(ratesToTry(4e-3, tried({ ...rising, 0.11: 0.5 }))).toEqual([0.32]);
    const seven = { ...rising, 0.11: 0.5, 0.32: 0.4, 0.97: 0.3 };
    expect(ratesToTry(4e-3, tried(seven))).toEqual([]);
  });

  it("are not sought further where no run came off", () => {
    const failed = tried({ 0.0013: null, 0.004: null, 0.012: null, 0.036: null });
    expect(bestRate(failed)).toBeUndefined();
    expect(ratesToTry(4e-3, failed)).toEqual([]);
  });

  it("are chosen by the lowest loss; failures never are", () => {
    expect(bestRate(tried({ 0.1: 2, 0.2: 0.5, 0.3: null, 0.4: 0.7 }))).toBe(0.2);
  });

  it("begin anew with another number of steps", () => {
    const first = withTried({}, "A", 100, { rate: 0.2, loss: 1 });
    const second = withTried(first, "A", 100, { rate: 0.1, loss: 2 });
    expect(second.A).toEqual({ steps: 100, tried: tried({ 0.1: 2, 0.2: 1 }) });
    expect(triedAt(second.A, 200)).toEqual([]);
    expect(withTried(second, "A", 200, { rate: 0.3, loss: 3 }).A).toEqual({
      steps: 200,
      tried: tried({ 0.3: 3 }),
    });
  });

  describe("on disk", () => {
    let folder: string;
    beforeEach(async () => {
      folder = await mkdtemp(join(tmpdir(), "tunesmith-rates-"));
    });
    afterEach(() => rm(folder, { recursive: true }));

    it("come back as they were, a failed run too", async () => {
      const file = join(folder, "rates.json");
      expect(await readSweeps(file)).toEqual({});
      const sweeps = withTried({}, "A", 100, { rate: 0.2, loss: null });
      await writeSweeps(sweeps, file);
      expect(await readSweeps(file)).toEqual(sweeps);
    });
  });
});

const method = (label: string, hasPeer = true) => ({
  label,
  options: { name: "lora" } as const,
  learningRate: 4e-3,
  ...(hasPeer ? { peft: { config: "LoraConfig" } } : {}),
});
const flag = ({ command: { args } }: Planned, name: string): string | undefined =>
  args.includes(name) ? args[args.indexOf(name) + 1] : undefined;

describe("the comparison's plan", () => {
  const sweeps: Sweeps = { A: { steps: 9, tried: tried({ 0.1: 2, 0.3: 1 }) } };
  const options = { steps: 50, threads: 3, batches: "folder" };
  const peer = { python: "py", seeds: 1 };
  const plan = comparison([method("A"), method("B", false)], sweeps, options, peer);

  it("has the peer's run after ours, for as many seeds as the peer gets", () => {
    expect(plan(1).map(({ name }) => name)).toEqual(["A", "A (PEFT)", "B"]);
    expect(plan(2).map(({ name }) => name)).toEqual(["A", "B"]);
  });

  it("gives both sides the same rate, seed, steps, threads and batches", () => {
    const [own, theirs, other] = plan(1);
    for (const name of ["--learning-rate", "--seed", "--steps", "--threads", "--batches"])
      expect(flag(own!, name)).toBe(flag(theirs!, name));
    expect(flag(own!, "--learning-rate")).toBe("0.3");
    expect(flag(other!, "--learning-rate")).toBe("0.004");
    expect(flag(own!, "--threads")).toBe("3");
  });

  it("gives every round its seed", () => {
    expect(plan(1).map((one) => flag(one, "--seed"))).toEqual(["0", "0", "0"]);
    expect(plan(2).map((one) => flag(one, "--seed"))).toEqual(["1", "1"]);
  });

  it("has our side alone where there is no peer", () => {
    const alone = comparison([method("A")], {}, options);
    expect(alone(1).map(({ name }) => name)).toEqual(["A"]);
  });

  it("knows every method by its label, without quantised bases", () => {
    const labels = comparedMethods().map(({ label }) => label);
    expect(labels).toContain("Every weight");
    expect(labels).not.toContain("QLoRA");
    expect(new Set(labels).size).toBe(labels.length);
    expect(comparedMethods(["DoRA"]).map(({ label }) => label)).toEqual(["DoRA"]);
  });
});

describe("the sweep's plan", () => {
  it("tries what is left, of our side, by the held-out loss alone", () => {
    const sweeps: Sweeps = {
      A: { steps: 50, tried: tried({ 0.0013: 3, 0.004: 1, 0.012: 2, 0.036: 3 }) },
      B: { steps: 50, tried: tried({ 0.0013: 3, 0.004: 1 }) },
    };
    const trials = nextTrials([method("A"), method("B")], sweeps, {
      steps: 50,
      threads: 2,
      batches: "folder",
    });
    expect(trials.map(({ name }) => name)).toEqual(["B at 0.012", "B at 0.036"]);
    for (const trial of trials) {
      expect(flag(trial, "--learning-rate")).toBe(String(trial.rate));
      expect(trial.command.args).toContain("--loss-only");
      expect(trial.command.args).not.toContain("--peer");
    }
    expect(chosenRate(method("A"), sweeps)).toBe(0.004);
  });
});

const report = (right: number, loss: number, seconds: number) => ({
  exact_match: right,
  held_out_loss: loss,
  seconds,
  trainable_parameters: 1000,
  learning_rate: 0.01,
  versions: {},
});
const session: QualitySession = {
  date: "2026-01-01",
  loadBefore: 0,
  versions: {},
  steps: 10,
  jobs: 2,
  threads: 1,
  measured: [
    { name: "LoRA", round: 1, report: report(0.5, 0.3, 10) },
    { name: "LoRA (PEFT)", round: 1, report: report(0.4, 0.5, 30) },
    { name: "DoRA", round: 1, report: report(0.8, 0.2, 10) },
    { name: "VeRA", round: 1, report: { failed: "out of luck" } },
    { name: "LoRA", round: 2, report: report(0.7, 0.1, 20) },
    { name: "DoRA", round: 2, report: { failed: "out of luck" } },
  ],
};

describe("the rows that are shown", () => {
  it("are the best first, ours with the peer's, without what failed", () => {
    const rows = qualityRows(session);
    expect(rows.map(({ label }) => label)).toEqual(["DoRA", "LoRA"]);
    expect(rows[1]).toMatchObject({
      ours: { right: [0.5, 0.7], heldOutLoss: [0.3, 0.1], seconds: 15 },
      peer: { right: [0.4], seconds: 30 },
    });
    expect(rows[0]!.peer).toBeUndefined();
    expect(qualityTable(rows)).toContain(
      "| LoRA | 1,000 | 0.01 | 50 %, 70 % | 40 % | 0.200 | 0.500 | 15 | 30 |",
    );
  });

  it("are a picture with a filled and a hollow circle in each of two panels", () => {
    const picture = drawQualityPicture(qualityRows(session), "A & B");
    expect(picture).toContain("A &amp; B");
    expect(picture).not.toMatch(/NaN|Infinity|undefined/);
    const circles = picture.split("</g>").filter((part) => part.includes("<title>LoRA</title>"));
    expect(circles.map((part) => part.match(/<circle/g)?.length)).toEqual([2, 2]);
    expect(circles[0]!.match(/fill="none"/g)).toHaveLength(1);
  });

  it("are drawn where nobody was wrong, and where all were", () => {
    const measured = [
      { name: "LoRA", round: 1, report: report(1, 0.3, 10) },
      { name: "DoRA", round: 1, report: report(0, 0.3, 10) },
    ];
    const picture = drawQualityPicture(qualityRows({ ...session, measured }), "");
    expect(picture).not.toMatch(/NaN|Infinity/);
  });
});

describe("labels of a plot", () => {
  it("lie on no other label and on no point, inside the plot", () => {
    const points = Array.from({ length: 20 }, (_, i) => ({
      x: 200 + 17 * (i % 5),
      y: 200 + 13 * Math.floor(i / 5),
      words: `method ${i}`,
    }));
    const marks = points.map(({ x, y }) => ({ x: x - 4, y: y - 4, width: 8, height: 8 }));
    const bounds = { x: 0, y: 0, width: 500, height: 400 };
    const places = placeLabels(points, marks, bounds);
    for (const [i, place] of places.entries()) {
      for (const other of [...places.slice(i + 1), ...marks]) expect(overlap(place, other)).toBe(0);
      expect(overlap(place, bounds)).toBeCloseTo(place.width * place.height);
    }
  });
});
