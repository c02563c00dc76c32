// Speed of generation beside llama.cpp at the same bits and Transformers in float32, on the same machine:
// every side in turn, several rounds of all, each measurement in a process of its own.
//
//     npm run bench:generation -- --rounds 2

import { existsSync } from "node:fs";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { type Command, ours } from "./child.ts";
import { flagsOrExit } from "./flags.ts";
import type { GenerationReport } from "./generation-report.ts";
import { GGUF_FILE, LLAMA_CPP_FOLDER, MODEL_FOLDER, PEERS_FOLDER, PYTHON } from "./paths.ts";
import { writePage } from "./report.ts";
import { keepSession, today, versionsOf } from "./results.ts";
import { measureAll, type Planned, say } from "./session.ts";
import { readCount } from "./workload.ts";

const USAGE =
  "npm run bench:generation -- [--rounds 2] [--model FOLDER] [--gguf FILE] [--python PATH] [--llama-cpp FOLDER]";

const flags = flagsOrExit(USAGE, () => {
  const { values } = parseArgs({
    options: {
      rounds: { type: "string" },
      model: { type: "string", default: MODEL_FOLDER },
      gguf: { type: "string", default: GGUF_FILE },
      python: { type: "string", default: PYTHON },
      "llama-cpp": { type: "string", default: LLAMA_CPP_FOLDER },
    },
  });
  return { ...values, rounds: readCount("rounds", values.rounds, 2) };
});

const needed = {
  model: join(flags.model, "config.json"),
  gguf: flags.gguf,
  python: flags.python,
  "llama-cpp": join(flags["llama-cpp"], "node_modules", "node-llama-cpp"),
};
const missing = Object.entries(needed).filter(([, path]) => !existsSync(path));
if (missing.length > 0) {
  for (const [flag, path] of missing) say(`bench: no ${path} (--${flag})`);
  say("  fix: bench/peers/README.md says how they get there");
  process.exit(1);
}

const own = (...more: string[]): Command =>
  ours(join(import.meta.dirname, "generate-run.ts"), "--model", flags.model, ...more);

const plan: readonly Planned[] = [
  { name: "tunesmith-q4", command: own("--dtype", "q4") },
  {
    name: "llama.cpp-q4",
    command: {
      program: process.execPath,
      args: [
        join(PEERS_FOLDER, "llama-cpp-generate.mjs"),
        ...["--gguf", flags.gguf, "--module", flags["llama-cpp"]],
      ],
    },
  },
  { name: "tunesmith-float32", command: own("--dtype", "float32", "--adapters") },
  {
    name: "transformers-float32",
    command: {
      program: flags.python,
      args: [join(PEERS_FOLDER, "transformers-generate.py"), "--model", flags.model],
    },
  },
];

const describe = (report: object): string => {
  const made = report as GenerationReport;
  return (
    `reads ${made.read_tokens_per_second.toFixed(0)}, writes ${made.write_tokens_per_second.toFixed(1)} ` +
    `and ${made.write_all_tokens_per_second.toFixed(0)} tokens/s, first after ${made.seconds_to_first_token.toFixed(1)} s`
  );
};

const { loadBefore, measured } = await measureAll<GenerationReport>(plan, {
  name: "generation",
  rounds: flags.rounds,
  describe,
});
await keepSession({
  generation: { date: today(), loadBefore, versions: versionsOf(measured), measured },
});
say(`Written: ${await writePage()}`);
