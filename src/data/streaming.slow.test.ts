// A 200 MB file streams in bounded memory. Takes half a minute, so it runs on request only:
// TUNESMITH_SLOW=1 npx vitest run src/data/streaming.slow.test.ts

import { execFile } from "node:child_process";
import { mkdtemp, open, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { afterAll, beforeAll, describe, expect, it } from "vitest";

const RECORDS = 400_000;
const WORDS = 100;

interface Outcome {
  batches: number;
  targets: number;
  peakMegabytes: number;
}

describe.runIf(process.env.TUNESMITH_SLOW)("a file of 200 MB", () => {
  let folder: string;
  let file: string;
  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), "tunesmith-large-"));
    file = join(folder, "large.jsonl");
    const handle = await open(file, "w");
    const line = (i: number) => `${JSON.stringify({ text: "word ".repeat(WORDS - 1) + i })}\n`;
    for (let i = 0; i < RECORDS; i += 1000)
      await handle.write(Array.from({ length: 1000 }, (_, j) => line(i + j)).join(""));
    await handle.close();
  });
  afterAll(() => rm(folder, { recursive: true }));

  it.each(["plain", "packed"])(
    "trains in bounded memory, baseline of Node included (%s)",
    async (packing) => {
      const script = join(import.meta.dirname, "testing", "stream-large.ts");
      // Without a limit the heap grows as far as collecting garbage is put off, on a busy machine far.
      const heap = "--max-old-space-size=64";
      const { stdout } = await promisify(execFile)(process.execPath, [heap, script, file, packing]);
      const outcome = JSON.parse(stdout) as Outcome;
      console.log(packing, outcome);
      // Every word but the first of a record is a target, and so is the end token.
      expect(outcome.targets).toBe(RECORDS * WORDS);
      expect(outcome.peakMegabytes).toBeLessThan(400);
    },
    300_000,
  );
});
