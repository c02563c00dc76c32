// `tunesmith classify`: what a classifier or a reward model says of texts.

import { readFile } from "node:fs/promises";
import type { Command } from "commander";
import { TunesmithError } from "../../errors.ts";
import type { QuantizationType } from "../../hub/index.ts";
import type { Verdict } from "../../objectives/index.ts";
import { type Context, describeCommand } from "../command.ts";
import { formatTable } from "../format.ts";
import { attend } from "../preparing.ts";

interface Options {
  readonly model: string;
  readonly adapter?: string;
  readonly quantization?: QuantizationType;
  readonly file?: string;
  readonly json?: boolean;
}

/** Labels of a verdict that are shown. */
const SHOWN = 3;

/** Characters of a text that are shown. */
const EXCERPT = 48;

export function classifyCommand(context: Context): Command {
  const { console } = context;
  return describeCommand({
    usage: "classify [texts...]",
    summary: "tell the labels of texts, or their scores, with a classifier or a reward model",
    arguments: { texts: "the texts; where there are none, the lines of --file" },
    options: [
      ["--model <path|id>", "the model"],
      [
        "--adapter <folder>",
        "an adapter that was trained by objective: classification or regression",
      ],
      ["--quantization <type>", "keep the model's linear weights as nf4, fp4 or int8"],
      ["--file <path>", "a file with a text a line"],
      ["--json", "one JSON object a text: labels, and the probability or value of each"],
    ],
    examples: [
      [
        `tunesmith classify --model ./my-model --adapter runs/mine-1/adapter "A fine day."`,
        "one text",
      ],
      ["tunesmith classify --model ./my-reward-model --file answers.txt --json", "many of them"],
    ],
  }).action(async (words: string[], { file, json, ...options }: Options) => {
    const texts = words.length > 0 || file === undefined ? words : await linesOf(file);
    if (options.model === undefined || texts.length === 0) throw nothingToDo(options.model);
    const { classifyTexts } = await import("../../recipe/classify.ts");
    const verdicts = await attend(context, (attended) =>
      classifyTexts(texts, { ...options, ...attended }),
    );
    if (verdicts === undefined) return;
    console.out(
      json
        ? verdicts
            .map((verdict, i) => `${JSON.stringify({ text: texts[i], ...verdict })}\n`)
            .join("")
        : formatTable(
            verdicts.map((verdict, i) => [describeVerdict(verdict), excerptOf(texts[i]!)]),
          ),
    );
  });
}

/** The most probable labels, largest first; all numbers where no label was chosen, as of values. */
function describeVerdict({ labels, scores }: Verdict): string {
  const entries = Object.entries(scores);
  const shown =
    labels.length === 0 ? entries : entries.sort(([, a], [, b]) => b - a).slice(0, SHOWN);
  return shown.map(([label, score]) => `${label} ${score.toFixed(4)}`).join("  ");
}

const excerptOf = (text: string): string =>
  text.length > EXCERPT ? `${text.slice(0, EXCERPT - 1)}…` : text;

async function linesOf(file: string): Promise<string[]> {
  const text = await readFile(file, "utf8").catch((cause) => {
    throw new TunesmithError(
      "data",
      {
        where: file,
        rule: "the file has a text a line",
        seen: `it cannot be read (${(cause as NodeJS.ErrnoException).code})`,
        fix: "correct the path",
      },
      { cause },
    );
  });
  return text.split(/\r?\n/).filter((line) => line.trim() !== "");
}

const nothingToDo = (model: string | undefined) =>
  new TunesmithError("config", {
    where: "tunesmith classify",
    rule: "it needs a model and texts",
    seen: model === undefined ? "no --model" : "no texts",
    fix: 'write `tunesmith classify --model … "a text"`, or --file with a text a line',
  });
