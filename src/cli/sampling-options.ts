// The options that `generate` and `chat` share: which model, and how its next token is chosen.

import type { Command } from "commander";
import type { ModelDtype } from "../engine/weights/model-dtype.ts";
import { type Fault, TunesmithError } from "../errors.ts";
import type { QuantizationType } from "../hub/index.ts";
import type { Sampling } from "../recipe/conversation.ts";

export interface SamplingFlags {
  readonly model: string;
  readonly adapter?: string;
  readonly dtype?: ModelDtype;
  readonly quantization?: QuantizationType;
  readonly temperature?: string;
  readonly topP?: string;
  readonly topK?: string;
  readonly minP?: string;
  readonly repetitionPenalty?: string;
  readonly maxNewTokens: string;
  readonly seed?: string;
}

/** Adds the shared options to a command. */
export function addSamplingOptions(command: Command): Command {
  return command
    .requiredOption("--model <path|id>", "the model")
    .option("--adapter <folder>", "an adapter to use with it")
    .option("--dtype <type>", "q4 or q8: small and fast; float32 or auto: exact")
    .option("--quantization <type>", "keep linear weights as nf4, fp4 or int8: smaller, slower")
    .option("--temperature <number>", "0 takes the likeliest token; higher is more varied")
    .option("--top-k <count>", "choose among so many of the likeliest tokens")
    .option("--top-p <share>", "choose among the likeliest tokens of this total share")
    .option("--min-p <share>", "leave out tokens below this share of the likeliest one's")
    .option("--repetition-penalty <factor>", "above 1: repeats become less likely")
    .option("--max-new-tokens <count>", "stop after so many tokens", "256")
    .option("--seed <number>", "the same number gives the same text");
}

const RANGES = {
  temperature: [0, 100],
  topK: [1, 1e6],
  topP: [0, 1],
  minP: [0, 1],
  repetitionPenalty: [0.01, 100],
  maxNewTokens: [1, 1e6],
  seed: [0, Number.MAX_SAFE_INTEGER],
} as const satisfies Record<keyof Sampling, readonly [number, number]>;

/** Reads the numbers; throws with all that are out of range. */
export function readSampling(flags: SamplingFlags): Sampling {
  const faults: Fault[] = [];
  const sampling: { -readonly [Key in keyof Sampling]: Sampling[Key] } = {};
  for (const [key, [low, high]] of Object.entries(RANGES)) {
    const text = flags[key as keyof SamplingFlags];
    if (text === undefined) continue;
    const value = Number(text);
    if (text.trim() !== "" && value >= low && value <= high)
      sampling[key as keyof Sampling] = value;
    else
      faults.push({
        where: `--${key.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`)}`,
        rule: `a number of at least ${low}${high < 1e6 ? ` and at most ${high}` : ""}`,
        seen: text,
        fix: "correct the number",
      });
  }
  if (faults.length > 0) throw new TunesmithError("config", faults);
  return sampling;
}
