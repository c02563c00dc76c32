// `tunesmith adapter`: trained adapters looked at, merged with one another, converted.

import { Command } from "commander";
import type { AdapterDescription, MergeMethod } from "../../adapters/index.ts";
import { TunesmithError } from "../../errors.ts";
import { type Context, describeCommand } from "../command.ts";
import { formatBytes, formatCount, formatTable, shortPath } from "../format.ts";
import { attend } from "../preparing.ts";

const MAJORITY_SIGNS = ["total", "frequency"] as const;
const FORMS = ["lora", "gguf"] as const;

export function adapterCommand(context: Context): Command {
  const summary = "look at adapters, merge several, convert them";
  return new Command("adapter")
    .summary(summary)
    .description(summary)
    .addCommand(showCommand(context))
    .addCommand(mergeCommand(context))
    .addCommand(convertCommand(context));
}

function showCommand({ console }: Context): Command {
  return describeCommand({
    usage: "show <folder>",
    summary: "tell an adapter's method, modules, ranks, sizes and norms",
    details: "Norms are those of what is added to a weight; large ones among small ones stand out.",
    arguments: { folder: "the adapter's folder" },
    options: [["--json", "as JSON"]],
    examples: [
      ["tunesmith adapter show runs/mine-1/adapter", "as tables"],
      ["tunesmith adapter show ./downloaded --json", "for programs"],
    ],
  }).action(async (folder: string, { json }: { readonly json?: boolean }) => {
    const { describeAdapterFolder } = await import("../../recipe/adapters.ts");
    const description = await describeAdapterFolder(folder);
    console.out(json ? `${JSON.stringify(description)}\n` : showAdapter(description));
  });
}

function showAdapter(description: AdapterDescription): string {
  const { method, library, peftType, base, labels, tensors, parameters, bytes, ranks, parts } =
    description;
  const number = (value: number) => Number(value.toPrecision(3)).toString();
  const facts = formatTable([
    ["method", method],
    ["file", [`${library}'s`, peftType].filter(Boolean).join(" ")],
    ["base", base ?? "not named"],
    ...(labels ? [["labels", labels.join(", ")]] : []),
    ...(ranks
      ? [
          [
            "ranks",
            `${ranks.kept} kept of ${ranks.initial} (target ${ranks.target}); of a module ` +
              `${ranks.smallest} to ${ranks.largest}, ${number(ranks.mean)} on average`,
          ],
        ]
      : []),
    [
      "size",
      `${formatCount(parameters)} in ${tensors} ${tensors === 1 ? "tensor" : "tensors"}, ${formatBytes(bytes)} in float32`,
    ],
  ]);
  const list = (values: readonly number[]) => values.map(number).join(", ") || "-";
  const table = formatTable([
    ["on", "count", "rank", "scaling", "parameters", "mean norm", "largest"],
    ...parts.map((part) => [
      part.name,
      String(part.count),
      list(part.ranks),
      list(part.scalings),
      formatCount(part.parameters),
      number(part.meanNorm),
      number(part.largestNorm),
    ]),
  ]);
  return `${facts}\n${table}`;
}

interface MergeFlags {
  readonly weights?: readonly string[];
  readonly method: MergeMethod;
  readonly rank?: string;
  readonly density?: string;
  readonly majoritySign: string;
  readonly seed: string;
  readonly out: string;
}

function mergeCommand(context: Context): Command {
  return describeCommand({
    usage: "merge <folders...>",
    summary: "make one LoRA adapter of several",
    details:
      "Methods are PEFT's: svd and cat add what the adapters add, at one rank or at the sum of ranks; " +
      "linear, magnitude_prune, ties, dare_linear and dare_ties work on the matrices, each for itself, or " +
      "with _svd behind the name on their products. What prunes needs --density.",
    arguments: { folders: "folders of adapters of one base model" },
    options: [
      ["--weights <numbers...>", "a factor for each adapter, behind the folders (default: 1 each)"],
      ["--method <name>", "how they are combined", "svd"],
      ["--rank <count>", "rank of the result, with svd (default: the largest of theirs)"],
      ["--density <share>", "share of elements that pruning keeps"],
      ["--majority-sign <rule>", "how ties elects signs: total or frequency", "total"],
      ["--seed <number>", "of what dare draws", "0"],
    ],
    examples: [
      ["tunesmith adapter merge ./a ./b --weights 0.7 0.3 --out ./ab", "their weighted sum"],
      ["tunesmith adapter merge ./a ./b --method cat --out ./ab", "the same, exact and larger"],
      [
        "tunesmith adapter merge ./a ./b --method ties --density 0.5 --out ./ab",
        "where signs agree",
      ],
    ],
  })
    .requiredOption("--out <folder>", "where to write the merged adapter")
    .action(async (adapters: string[], { weights, out, ...flags }: MergeFlags) => {
      const { mergeAdapters } = await import("../../recipe/adapters.ts");
      const settings = {
        method: flags.method,
        weights: weights?.flatMap((text) => text.split(",")).map((text) => read(text, "--weights")),
        rank: optional(flags.rank, "--rank"),
        density: optional(flags.density, "--density"),
        majoritySign: choose(flags.majoritySign, MAJORITY_SIGNS, "--majority-sign"),
        seed: read(flags.seed, "--seed"),
      };
      const merged = await attend(context, async ({ signal }) => {
        await mergeAdapters({ adapters, out, signal, ...settings });
        return true;
      });
      if (!merged) return;
      context.console.out(
        `wrote ${shortPath(out)}\n\nNext:\n  tunesmith adapter show ${shortPath(out)}\n`,
      );
    });
}

interface ConvertFlags {
  readonly to: string;
  readonly model?: string;
  readonly rank?: string;
  readonly energy?: string;
  readonly out: string;
}

function convertCommand(context: Context): Command {
  return describeCommand({
    usage: "convert <folder>",
    summary: "write an adapter as a LoRA, or as llama.cpp's GGUF",
    details:
      "To lora: any method that changes linear weights, by singular values; a LoRA gets another rank. " +
      "To gguf: a LoRA, for llama.cpp's --lora.",
    arguments: { folder: "the adapter's folder" },
    options: [
      ["--model <path|id>", "the model it was trained on (default: as the adapter names it)"],
      ["--rank <count>", "rank of the LoRA"],
      ["--energy <share>", "instead: keep this share of the squared singular values"],
    ],
    examples: [
      [
        "tunesmith adapter convert ./ia3 --to lora --rank 16 --model ./base --out ./lora",
        "for what reads LoRA alone",
      ],
      [
        "tunesmith adapter convert ./lora --to lora --energy 0.95 --out ./small",
        "as small as can be",
      ],
      [
        "tunesmith adapter convert ./lora --to gguf --model ./base --out lora.gguf",
        "for llama.cpp",
      ],
    ],
  })
    .requiredOption("--to <form>", "lora or gguf")
    .requiredOption("--out <path>", "the folder (lora) or file (gguf) to write")
    .action(async (adapter: string, { to, model, out, ...flags }: ConvertFlags) => {
      const { convertAdapter } = await import("../../recipe/adapters.ts");
      const form = choose(to, FORMS, "--to");
      const rank = optional(flags.rank, "--rank");
      const energy = optional(flags.energy, "--energy");
      const converted = await attend(context, async (attended) => {
        await convertAdapter({ adapter, to: form, out, model, rank, energy, ...attended });
        return true;
      });
      if (converted) context.console.out(`wrote ${shortPath(out)}\n`);
    });
}

function read(text: string, flag: string): number {
  const value = Number(text);
  if (text.trim() !== "" && Number.isFinite(value)) return value;
  throw new TunesmithError("config", {
    where: flag,
    rule: "is a number",
    seen: JSON.stringify(text),
    fix: "write numbers, and folders in front of the flags",
  });
}

const optional = (text: string | undefined, flag: string) =>
  text === undefined ? undefined : read(text, flag);

function choose<Choice extends string>(
  text: string,
  choices: readonly Choice[],
  flag: string,
): Choice {
  const found = choices.find((choice) => choice === text);
  if (found) return found;
  throw new TunesmithError("config", {
    where: flag,
    rule: `is one of ${choices.join(", ")}`,
    seen: JSON.stringify(text),
    fix: `write ${flag} ${choices[0]}`,
  });
}
