// Long benchmark runs: order, failures, and going on after being broken off.

import { existsSync } from "node:fs";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import type { Command } from "../../bench/child.ts";
import { measureAll, reportsOf } from "../../bench/session.ts";

let folder: string;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "tunesmith-bench-"));
  vi.spyOn(process.stdout, "write").mockReturnValue(true);
});
afterEach(async () => {
  vi.restoreAllMocks();
  await rm(folder, { recursive: true });
});

const node = (code: string): Command => ({ program: process.execPath, args: ["-e", code] });

/** A measurement that leaves a trace of having run. */
const traced = (name: string) => ({
  name,
  command: node(
    `require("fs").appendFileSync(${JSON.stringify(join(folder, "trace"))}, "${name} ");` +
      `console.log("chatter"); console.log(JSON.stringify({ value: "${name}" }))`,
  ),
});
const trace = () => readFile(join(folder, "trace"), "utf8");

describe("measureAll", () => {
  const plan = () => [traced("a"), traced("b")];
  const options = { name: "speed", rounds: 2, describe: () => "" } as const;

  it("runs the whole plan in every round", async () => {
    const { measured } = await measureAll<{ value: string }>(plan(), { ...options, folder });
    expect(await trace()).toBe("a b a b ");
    expect(reportsOf(measured, "b")).toEqual([{ value: "b" }, { value: "b" }]);
  });

  it("goes on where it was broken off, and starts anew under another plan", async () => {
    let seen = 0;
    const interrupt = () => {
      if (++seen === 3) throw new Error("interrupted");
      return "";
    };
    const broken = measureAll(plan(), { ...options, folder, describe: interrupt });
    await expect(broken).rejects.toThrow("interrupted");
    const { measured } = await measureAll(plan(), { ...options, folder });
    expect(measured).toHaveLength(4);
    expect(await trace()).toBe("a b a a b ");
    expect(existsSync(join(folder, "speed.json"))).toBe(false);

    seen = 1;
    await expect(measureAll(plan(), { ...options, folder, describe: interrupt })).rejects.toThrow();
    await measureAll(plan(), { ...options, rounds: 1, folder });
    expect(await trace()).toBe("a b a a b a b a b ");
  });

  it("keeps the reason of what failed and goes on", async () => {
    const broken = { name: "broken", command: node('console.error("no luck"); process.exit(3)') };
    const missing = { name: "missing", command: { program: join(folder, "none"), args: [] } };
    const { measured } = await measureAll([broken, missing, traced("a")], {
      ...options,
      rounds: 1,
      folder,
    });
    expect(measured[0]!.report).toEqual({ failed: "no luck" });
    expect(measured[1]!.report).toMatchObject({ failed: expect.stringContaining("ENOENT") });
    expect(reportsOf(measured, "broken")).toEqual([]);
    expect(reportsOf(measured, "a")).toHaveLength(1);
  });

  it("runs several at once, and tells of them in the order of the plan", async () => {
    // Each waits for the file that the other leaves: one after another they would never end.
    const meeting = (own: string, other: string) => ({
      name: own,
      command: node(
        `const { existsSync, writeFileSync } = require("fs");` +
          `writeFileSync(${JSON.stringify(join(folder, own))}, "");` +
          `const timer = setInterval(() => { if (!existsSync(${JSON.stringify(join(folder, other))})) return;` +
          `clearInterval(timer); setTimeout(() => console.log("{}"), ${own === "x" ? 200 : 0}) }, 5)`,
      ),
    });
    const pair = [meeting("x", "y"), meeting("y", "x")];
    const { measured } = await measureAll(pair, { ...options, rounds: 1, jobs: 2, folder });
    expect(measured.map(({ name }) => name)).toEqual(["x", "y"]);
  });

  it("takes another plan for each round, and goes on within it", async () => {
    const byRound = (round: number) => (round === 1 ? plan() : [traced("c")]);
    let seen = 0;
    const interrupt = () => {
      if (++seen === 2) throw new Error("interrupted");
      return "";
    };
    const broken = measureAll(byRound, { ...options, folder, describe: interrupt });
    await expect(broken).rejects.toThrow("interrupted");
    const { measured } = await measureAll(byRound, { ...options, folder });
    expect(measured.map(({ name, round }) => `${name}${round}`)).toEqual(["a1", "b1", "c2"]);
    expect(await trace()).toBe("a b b c ");
  });
});
