// `npm run check`: lint, types and every test; the last line is `N passed, N failed`.
// `--slow` adds what takes minutes (the suites named *.slow.test.ts).

import { spawn } from "node:child_process";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type Tally, tallyOf, tallyReport } from "./check-tally.ts";

const slow = process.argv.includes("--slow");
const binaries = join(import.meta.dirname, "..", "node_modules");

/** Tools are started by file with this Node.js, so that no PATH or shell decides which one runs. */
const tools = {
  biome: join(binaries, "@biomejs", "biome", "bin", "biome"),
  types: join(binaries, "typescript", "bin", "tsc"),
  tests: join(binaries, "vitest", "vitest.mjs"),
};

async function run(tool: keyof typeof tools, args: string[]): Promise<boolean> {
  process.stdout.write(`\n— ${tool}\n`);
  const child = spawn(process.execPath, [tools[tool], ...args], {
    stdio: ["ignore", "inherit", "inherit"],
    env: { ...process.env, TUNESMITH_SLOW: slow ? "1" : "" },
  });
  const code = await new Promise<number | null>((resolve, reject) => {
    child.on("error", reject);
    child.on("exit", resolve);
  });
  return code === 0;
}

async function runTests(): Promise<Tally> {
  const folder = await mkdtemp(join(tmpdir(), "tunesmith-check-"));
  try {
    const file = join(folder, "report.json");
    const reporters = ["--reporter=default", "--reporter=json", `--outputFile.json=${file}`];
    const succeeded = await run("tests", ["run", ...reporters]);
    return tallyReport(await readFile(file, "utf8").catch(() => undefined), succeeded);
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

const lint = tallyOf(await run("biome", ["check", "--diagnostic-level=error"]));
const types = tallyOf(await run("types", ["-p", "."]));
const tests = await runTests();

const passed = lint.passed + types.passed + tests.passed;
const failed = lint.failed + types.failed + tests.failed;
process.stdout.write(
  `\nlint ${lint.failed === 0 ? "ok" : "FAILED"}, types ${types.failed === 0 ? "ok" : "FAILED"}, ` +
    `tests ${tests.failed === 0 ? "ok" : "FAILED"}\n${passed} passed, ${failed} failed\n`,
);
process.exitCode = failed === 0 ? 0 : 1;
