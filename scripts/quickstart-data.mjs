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
import { createInventions } from "./quickstart/inventions.mjs";
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

/** Words of the test file's lists, which the training file must not contain. */
const testWords = new Set(Object.values(testFillIns).flat().join(" ").toLowerCase().split(" "));

const drawFrom = (random, fillIns) => (list) => random.pick(fillIns[list]);

/** Half of the names, products and places are invented. */
function drawTraining(random) {
  const inventions = createInventions(random, trainFillIns, testWords);
  const drawListed = drawFrom(random, trainFillIns);
  return (list) =>
    list in inventions && random.chance(0.5) ? inventions[list]() : drawListed(list);
}

for (const [name, count, seed, drawFillInWith] of [
  ["train", 4800, 1, drawTraining],
  ["test", 120, 2, (random) => drawFrom(random, testFillIns)],
]) {
  const random = createRandom(seed);
  const drawNumber = drawNumberWith(random);
  const drawFillIn = drawFillInWith(random);
  const rows = Array.from({ length: count }, () => drawExample(random, drawFillIn, drawNumber));
  writeFileSync(
    join(outDirectory, `${name}.jsonl`),
    rows.map((row) => `${JSON.stringify(row)}\n`).join(""),
  );
}
