// The benchmarks' arithmetic and bookkeeping: what is shown must follow from what was measured.

import { describe, expect, it } from "vitest";
import { SMOLLM2, stepFlops } from "../../bench/flops.ts";
import { machineKind, type SpeedSession } from "../../bench/results.ts";
import { median } from "../../bench/statistics.ts";
import { aimsOf, GFLOP_PER_TOKEN, scalingOf, sidesOf } from "../../bench/summary.ts";
import { makeBatch, readWorkload, STANDARD, workloadFlags } from "../../bench/workload.ts";

const machine = {
  processor: "Some(R) CPU @ 2.0GHz",
  features: ["AVX2", "AVX-512"],
  cores: 2,
  memory: 8e9,
  system: "linux x64",
};

const step = (speed: number, gigabytes: number) => ({
  peer: "",
  tokens_per_second: speed,
  steps: [1024 / speed],
  seconds_to_first_step: 5,
  peak_rss_bytes: gigabytes * 1e9,
  losses: [3],
  versions: {},
});

const session = (measured: SpeedSession["measured"]): SpeedSession => ({
  date: "2026-01-01",
  loadBefore: 0,
  versions: {},
  measured,
});

describe("FLOPs of a step", () => {
  it("counts every product once, by hand for one token of a tiny model", () => {
    const tiny = {
      layers: 1,
      hidden: 2,
      intermediate: 3,
      heads: 1,
      keyValueHeads: 1,
      headSize: 2,
      vocabulary: 5,
    };
    const one = { batch: 1, length: 1, rank: 1, trainableFraction: 1 };
    // q, k, v, o of 2 x 2 and three of 2 x 3: 34 values, 4 each; LoRA 2 * (2 + 2) values, 6 each;
    // attention 6 products of 2 multiply-adds; head 10 values, 4 each.
    expect(stepFlops(one, tiny)).toBe(4 * 34 + 6 * 8 + 6 * 2 * 2 + 4 * 10);
  });

  it("is what docs/benchmarks.md says for the standard step", () => {
    expect(GFLOP_PER_TOKEN).toBeCloseTo(0.567, 3);
  });

  it("spares the head, and nothing else, where labels do not count", () => {
    const spared = stepFlops(STANDARD) - stepFlops({ ...STANDARD, trainableFraction: 0.25 });
    expect(spared).toBe(0.75 * 1024 * 4 * SMOLLM2.hidden * SMOLLM2.vocabulary);
  });
});

describe("workloads", () => {
  it("survive the way through the command line", () => {
    const workload = { ...STANDARD, rank: 64, depth: 10, trainableFraction: 0.25 };
    const flags: Record<string, string> = {};
    const words = workloadFlags(workload);
    for (let i = 0; i < words.length; i += 2) flags[words[i]!.slice(2)] = words[i + 1]!;
    expect(readWorkload(flags)).toEqual(workload);
  });

  it.each([{ batch: "0" }, { rank: "x" }, { "trainable-fraction": "1.5" }])("refuses %o", (flags) =>
    expect(() => readWorkload(flags)).toThrow(RangeError),
  );

  it("make the peers' batch", () => {
    const { inputIds, labels } = makeBatch(
      { batch: 2, length: 4, rank: 1, trainableFraction: 0.5 },
      100,
    );
    expect(inputIds.flat()).toEqual(Array.from({ length: 8 }, (_, i) => 17 + ((i * 7919) % 83)));
    expect(labels).toEqual(inputIds.map((row) => [-100, -100, row[2], row[3]]));
  });
});

describe("summaries", () => {
  it("take medians over rounds and leave failures out", () => {
    const [side] = sidesOf(
      session([
        { name: "tunesmith-fast", round: 1, report: step(100, 2) },
        { name: "tunesmith-fast", round: 2, report: step(140, 2) },
        { name: "tunesmith-fast", round: 3, report: { failed: "out of luck" } },
      ]),
    );
    expect(side).toMatchObject({ tokensPerSecond: 120, range: [100, 140], peakBytes: 2e9 });
  });

  it("hold speed against the better peer and memory against the eager one", () => {
    const speed = session([
      { name: "tunesmith-fast", round: 1, report: step(200, 2) },
      { name: "peft-eager", round: 1, report: step(80, 4) },
      { name: "peft-compile", round: 1, report: step(125, 1) },
    ]);
    const aims = aimsOf({ machine, speed });
    expect(aims[0]).toMatchObject({ measured: "1.60×", aim: "≥ 2×", met: false });
    expect(aims[1]).toMatchObject({ measured: "0.50×", aim: "≤ 0.7×", met: true });
  });

  it("predict times from the standard workload's", () => {
    const workloads = { standard: STANDARD, "batch 1": { ...STANDARD, batch: 1 } };
    const points = scalingOf({
      ...session([]),
      workloads,
      measured: [
        { name: "standard", round: 1, report: step(256, 1) },
        { name: "batch 1", round: 1, report: step(512, 1) },
      ],
    });
    expect(points[1]).toMatchObject({ seconds: 2, predictedSeconds: 1 });
  });

  it("know the median and a machine's name", () => {
    expect([median([3, 1, 2]), median([4, 1])]).toEqual([2, 2.5]);
    expect(() => median([])).toThrow(RangeError);
    expect(machineKind(machine)).toBe("some-cpu-2-0ghz-avx-512-2-cores");
  });
});
