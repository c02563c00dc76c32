// The flags of benchmarks that measure the standard model beside PEFT, and what such a run needs.

import { existsSync } from "node:fs";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { flagsOrExit } from "./flags.ts";
import { MODEL_FOLDER, PYTHON } from "./paths.ts";
import { say } from "./session.ts";
import { readCount } from "./workload.ts";

export interface PeerFlags {
  readonly rounds: number;
  readonly steps: number;
  readonly warmup: number;
  readonly model: string;
  readonly python: string;
  /** Parts of the names that are wanted; undefined: everything. */
  readonly only?: readonly string[];
}

/** Reads the command line; ends the process for wrong flags and where model or Python are missing. */
export function readPeerFlags(
  usage: string,
  defaults: Pick<PeerFlags, "rounds" | "steps" | "warmup">,
): PeerFlags {
  const flags = flagsOrExit(usage, () => {
    const { values } = parseArgs({
      options: {
        rounds: { type: "string" },
        steps: { type: "string" },
        warmup: { type: "string" },
        model: { type: "string", default: MODEL_FOLDER },
        python: { type: "string", default: PYTHON },
        only: { type: "string", multiple: true },
      },
    });
    return {
      ...values,
      rounds: readCount("rounds", values.rounds, defaults.rounds),
      steps: readCount("steps", values.steps, defaults.steps),
      warmup: readCount("warmup", values.warmup, defaults.warmup),
    };
  });
  if (existsSync(join(flags.model, "config.json")) && existsSync(flags.python)) return flags;
  say(
    `bench: needs the model (${flags.model}) and Python with the peers' libraries (${flags.python})\n` +
      "  fix: see docs/benchmarks.md; or pass --model FOLDER and --python PATH",
  );
  process.exit(1);
}
