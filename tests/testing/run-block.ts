// How each kind of code block in the documentation is held to its word. A kind that is not in the
// table fails, so that no example goes unchecked unseen.

import { readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { recogniseFormat } from "../../src/data/formats.ts";
import { readFormat } from "../../src/generate/index.ts";
import { loadRecipe } from "../../src/recipe/load.ts";
import { type CodeBlock, commandLines } from "./markdown.ts";
import type { Result, Sandbox } from "./sandbox.ts";

type Check = (text: string, sandbox: Sandbox) => Promise<void>;

const CHECKS: Readonly<Record<string, Check>> = {
  /** Commands of tunesmith, run one after another. */
  "sh run": async (text, sandbox) => {
    for (const [program, ...args] of commandLines(text)) {
      if (program !== "tunesmith") throw new Error(`"${program}" is not tunesmith`);
      requireSuccess(args.join(" "), await sandbox.tunesmith(...args));
    }
  },
  /** Commands that a test cannot run inside itself: each must be a script of package.json. */
  "sh npm": async (text) => {
    const root = join(import.meta.dirname, "..", "..");
    const { scripts } = JSON.parse(await readFile(join(root, "package.json"), "utf8"));
    for (const words of commandLines(text)) {
      const [program, verb, name = verb] = words;
      if (program === "git" || program === "cd") continue;
      if (program !== "npm" || !["run", "test"].includes(verb!))
        throw new Error(`"${words.join(" ")}" is not a script of npm's`);
      if (!(name! in scripts)) throw new Error(`package.json has no script "${name}"`);
    }
  },
  /** A program that imports tunesmith. */
  "ts run": async (text, sandbox) => {
    requireSuccess(text, await sandbox.script(text));
  },
  /** A recipe without faults; it stays there as recipe.yaml for what follows. */
  "yaml recipe": async (text, sandbox) => {
    const file = join(sandbox.folder, "recipe.yaml");
    await writeFile(file, text);
    await loadRecipe(file);
  },
  /** One record of training data a line, each of a format that is recognised. */
  "json records": async (text) => {
    for (const line of text.split("\n").filter((each) => each.trim() !== ""))
      recogniseFormat({ record: JSON.parse(line), where: line });
  },
  /** A schema that answers can be held to; it stays there as schema.json for what follows. */
  "json schema": async (text, sandbox) => {
    const file = join(sandbox.folder, "schema.json");
    await writeFile(file, text);
    readFormat({ type: "json_schema", schema: JSON.parse(text) }, file);
  },
  /** Output, formulas, file trees. */
  text: async () => {},
  /** Diagrams. */
  mermaid: async () => {},
};

/** Checks one block. Throws where it does not do what it says, or where its kind is unknown. */
export async function checkBlock({ kind, text, line }: CodeBlock, sandbox: Sandbox): Promise<void> {
  const check = CHECKS[kind];
  if (check === undefined)
    throw new Error(
      `line ${line}: no test covers a code block "${kind}"; kinds: ${Object.keys(CHECKS).join(", ")}`,
    );
  await check(text, sandbox);
}

function requireSuccess(what: string, { code, out, err }: Result): void {
  if (code !== 0) throw new Error(`exit code ${code} from:\n${what}\n\n${out}${err}`);
}
