// kill -9 at any moment: real processes are killed again and again, from outside at random times and
// from inside in the middle of their disk writes, and resumed until they reach the end.

import { spawn } from "node:child_process";
import { readdir, readFile, rm } from "node:fs/promises";
import { join } from "node:path";
import { afterAll, beforeAll, expect, it } from "vitest";
import { readMetrics } from "./metrics.ts";
import { makeTemporaryFolder } from "./testing/helpers.ts";

const SCRIPT = join(import.meta.dirname, "testing", "toy-run.ts");
let base: string;
let unkilled: string;

beforeAll(async () => {
  base = await makeTemporaryFolder();
  unkilled = join(base, "unkilled");
  expect(await run(unkilled)).toBe(0);
});
afterAll(() => rm(base, { recursive: true, force: true }));

interface RunOptions {
  readonly fatalCall?: number;
  readonly pause?: number;
  readonly killAfterSeconds?: number;
}

/** Runs the toy process to its end; its exit code, or null where it was killed. */
function run(folder: string, options: RunOptions = {}): Promise<number | null> {
  const { fatalCall = 0, pause = 0, killAfterSeconds } = options;
  const child = spawn(
    process.execPath,
    ["--disable-warning=ExperimentalWarning", SCRIPT, folder, String(fatalCall), String(pause)],
    { stdio: ["ignore", "pipe", "pipe"] },
  );
  let complaint = "";
  child.stderr.setEncoding("utf8").on("data", (text: string) => {
    complaint += text;
  });
  if (killAfterSeconds !== undefined)
    child.stdout.once("data", () =>
      setTimeout(() => child.kill("SIGKILL"), killAfterSeconds * 1000),
    );
  else child.stdout.resume();
  return new Promise((resolve, reject) => {
    child.on("close", (code) => (code ? reject(new Error(complaint)) : resolve(code)));
  });
}

/** Everything in a run's metrics that does not depend on the clock or the machine. */
async function losses(folder: string) {
  const metrics = await readMetrics(join(folder, "metrics.jsonl"));
  return metrics.map((event) =>
    event.type === "step-finished"
      ? [event.step, event.epoch, event.loss, event.gradientNorm, event.learningRate]
      : [event.step, event.loss, event.isBest],
  );
}

async function expectSameAsUnkilled(folder: string): Promise<void> {
  expect(await losses(folder)).toEqual(await losses(unkilled));
  for (const file of [
    "adapter/adapter_model.safetensors",
    "checkpoints/latest",
    "checkpoints/step-000024/parameters.safetensors",
    "checkpoints/step-000024/optimizer.safetensors",
  ])
    expect((await readFile(join(folder, file))).equals(await readFile(join(unkilled, file)))).toBe(
      true,
    );
  // No temporary, no stale lock and no half-removed checkpoint is left.
  for (const part of [".", "checkpoints", "checkpoints/step-000024", "adapter"])
    expect((await readdir(join(folder, part))).sort()).toEqual(
      (await readdir(join(unkilled, part))).sort(),
    );
}

// Call n is the n-th change of the disk: locks, metrics, checkpoints and their renames alike. A stride
// of 1 visits every one of them (TUNESMITH_CRASH_STRIDE=1, about a minute).
const STRIDE = Number(process.env.TUNESMITH_CRASH_STRIDE ?? 13);

it("continues bit for bit after dying in the middle of its writes", {
  timeout: 600_000,
}, async () => {
  const folder = join(base, "torn");
  let deaths = 0;
  // Ever later in ever resumed runs, so that each part of the work is hit in some state.
  for (let fatalCall = 1; ; fatalCall += STRIDE) {
    if ((await run(folder, { fatalCall })) === 0) break;
    deaths++;
  }
  expect(deaths).toBeGreaterThan(5);
  await expectSameAsUnkilled(folder);
});

it("continues bit for bit after kill -9 at random moments", { timeout: 600_000 }, async () => {
  const folder = join(base, "killed");
  let deaths = 0;
  for (let attempt = 0; attempt < 6; attempt++) {
    // The whole run takes about a second.
    const killAfterSeconds = Math.random() * 0.25;
    if ((await run(folder, { pause: 20, killAfterSeconds })) === 0) break;
    deaths++;
  }
  await run(folder);
  expect(deaths).toBeGreaterThan(0);
  await expectSameAsUnkilled(folder);
});
