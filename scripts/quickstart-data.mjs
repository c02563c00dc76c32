/**
 * Writes the quickstart's training and test files: customer messages with the tool call that answers each. The test
 * file's names, items, cities, months and numbers never occur in the training file. Deterministic.
 *
 *     node scripts/quickstart-data.mjs [OUT_DIRECTORY]
 */
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { createRandom } from "./pretraining/random.mjs";
import { testFillIns, trainFillIns } from "./quickstart/fill-ins.mjs";
import { drawExample } from "./quickstart/messages.mjs";

const outDirectory = process.argv[2] ?? "assets/quickstart";
mkdirSync(outDirectory, { recursive: true });

/** Five-digit numbers, each used once in both files together. */
const usedNumbers = new Set();
const drawNumberWith = (random) => () => {
  let number;
  do number = String(random.integer(10000, 99999));
  while (usedNumbers.has(number));
  usedNumbers.add(number);
  return number;
};

for (const [name, count, fillIns, seed] of [
  ["train", 1200, trainFillIns, 1],
  ["test", 120, testFillIns, 2],
]) {
  const random = createRandom(seed);
  const drawNumber = drawNumberWith(random);
  const rows = Array.from({ length: count }, () => drawExample(random, fillIns, drawNumber));
  writeFileSync(
    join(outDirectory, `${name}.jsonl`),
    rows.map((row) => `${JSON.stringify(row)}\n`).join(""),
  );
}
