import { spawn } from "node:child_process";
import { createHash } from "node:crypto";
import { mkdir, readdir, readFile, writeFile } from "node:fs/promises";
import { hostname } from "node:os";
import { join } from "node:path";
import { setTimeout } from "node:timers/promises";
import { expect, it } from "vitest";
import { takeRunLock } from "./run-lock.ts";
import { useTemporaryFolders } from "./testing/helpers.ts";

const makeFolder = useTemporaryFolders();

/** The number of a process that has just ended. */
function endedProcess(): Promise<number> {
  const child = spawn(process.execPath, ["--version"], { stdio: "ignore" });
  return new Promise((resolve) => child.on("exit", () => resolve(child.pid!)));
}

async function writeLock(folder: string, owner: object): Promise<void> {
  const content = { pid: process.pid, host: hostname(), since: "2026-01-01T00:00:00Z", ...owner };
  await writeFile(join(folder, "run.lock"), JSON.stringify(content));
}

it("is held by one at a time, and free again after its release", async () => {
  const folder = await makeFolder();
  const release = await takeRunLock(folder);
  await expect(takeRunLock(folder)).rejects.toThrow(
    `process ${process.pid} on ${hostname()} has worked in it`,
  );
  await release();
  expect(await readdir(folder)).toEqual([]);
  await (await takeRunLock(folder))();
});

it("is taken over from a process that died", async () => {
  const folder = await makeFolder();
  const pid = await endedProcess();
  await writeLock(folder, { pid });
  await writeFile(join(folder, `run.lock.${pid}.0`), "left behind");
  const release = await takeRunLock(folder);
  expect(await readdir(folder)).toEqual(["run.lock"]);
  await release();
});

it("is taken over when it was torn while it was written", async () => {
  const folder = await makeFolder();
  await writeFile(join(folder, "run.lock"), '{"pid": 12');
  await (await takeRunLock(folder))();
});

it.runIf(process.platform === "linux")(
  "is taken over from a process whose number now belongs to another",
  async () => {
    const folder = await makeFolder();
    await writeLock(folder, { birth: "another boot:1" });
    await (await takeRunLock(folder))();
  },
);

it("is not taken from another host, whose processes nobody can see from here", async () => {
  const folder = await makeFolder();
  await writeLock(folder, { host: "elsewhere", pid: await endedProcess() });
  await expect(takeRunLock(folder)).rejects.toThrow("if that process is gone");
});

it("goes on from one that was killed while it took over", async () => {
  const folder = await makeFolder();
  await writeLock(folder, { pid: await endedProcess() });
  const dead = await readFile(join(folder, "run.lock"), "utf8");
  const name = createHash("sha256").update(dead).digest("hex").slice(0, 16);
  const half = join(folder, `run.lock.after-${name}`);
  await writeFile(half, dead.replace("{", '{ "serial": 1,'));
  const release = await takeRunLock(folder);
  expect(await readdir(folder)).toEqual(["run.lock"]);
  await release();
  expect(await readdir(folder)).toEqual([]);
});

it("does not remove a lock that somebody else holds by now", async () => {
  const folder = await makeFolder();
  const release = await takeRunLock(folder);
  await writeLock(folder, { host: "elsewhere" });
  await release();
  expect(await readFile(join(folder, "run.lock"), "utf8")).toContain("elsewhere");
});

it("goes to exactly one of many who want it at once, dead owner or not", async () => {
  for (let round = 0; round < 40; round++) {
    const folder = await makeFolder();
    if (round % 2) await writeLock(folder, { pid: await endedProcess() });
    const wishes = Array.from({ length: 8 }, async () => {
      await setTimeout(3 * Math.random());
      return takeRunLock(folder);
    });
    const outcomes = await Promise.allSettled(wishes);
    expect(outcomes.filter(({ status }) => status === "fulfilled").length).toBe(1);
    for (const outcome of outcomes)
      if (outcome.status === "rejected") expect(String(outcome.reason)).toContain("by one process");
    expect(await readdir(folder)).toEqual(["run.lock"]);
  }
});

it("tells of a lock that cannot be read, instead of waiting for it", async () => {
  const folder = await makeFolder();
  await mkdir(join(folder, "run.lock"));
  await expect(takeRunLock(folder)).rejects.toThrow("must be a file that can be read");
  expect(await readdir(folder)).toEqual(["run.lock"]);
});
