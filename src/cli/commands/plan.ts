// `tunesmith plan`: what a recipe would do: every value with its source, the data as the model will
// see them, memory and time.

import type { Command } from "commander";
import type { Origin } from "../../recipe/origins.ts";
import type { Plan, PlanValue } from "../../recipe/plan.ts";
import { type Context, describeCommand } from "../command.ts";
import type { Colors } from "../console.ts";
import { formatBytes, formatCount, formatDuration, formatTable } from "../format.ts";
import { attend } from "../preparing.ts";

export function planCommand(context: Context): Command {
  const { console, overrides } = context;
  return describeCommand({
    usage: "plan <recipe>",
    summary: "show what a recipe would do: every value, the data, memory and time",
    details: "Reads the model's headers and the data; trains nothing and writes nothing.",
    arguments: { recipe: "the recipe's file" },
    options: [["--json", "as JSON"]],
    examples: [
      ["tunesmith plan recipe.yaml", "what `tunesmith train recipe.yaml` would do"],
      ["tunesmith plan recipe.yaml --train.memory lean", "what another value would change"],
    ],
    takesOverrides: true,
  }).action(async (file: string, { json }: { json?: boolean }) => {
    const { planRecipe } = await import("../../recipe/plan.ts");
    const plan = await attend(context, (attended) => planRecipe(file, { overrides, ...attended }));
    if (plan === undefined) return;
    if (json) {
      console.out(`${JSON.stringify(plan, null, 2)}\n`);
      return;
    }
    const { showPreview } = await import("../show-preview.ts");
    const data = showPreview(plan.data, console.outColors);
    console.out(describePlan(plan, data, console.outColors));
  });
}

function describePlan(plan: Plan, data: string, colors: Colors): string {
  const { model, estimate, steps } = plan;
  const sections: [string, string][] = [
    ["Recipe", describeValues(plan.values, colors)],
    [
      "Model",
      formatTable([
        ["parameters", formatCount(model.parameters)],
        [
          "trained",
          `${formatCount(model.trainable)} (${share(model.trainable, model.parameters)})`,
        ],
        ["layers adapted", String(model.adaptedModules)],
      ]),
    ],
    ["Data", data],
    [
      "Cost",
      formatTable([
        ["optimizer steps", steps === undefined ? "unknown: the data are streamed" : String(steps)],
        [
          "time",
          plan.seconds === undefined
            ? "unknown"
            : `about ${formatDuration(plan.seconds)} (products at ${Math.round(plan.productSpeed / 1e9)} GFLOPS here)`,
        ],
        ...describeImageCost(plan),
        ["memory", `at most about ${formatBytes(estimate.memoryBytes)}`],
        ...estimate.memory
          .filter(({ bytes }) => bytes > 0)
          .map(({ name, bytes }) => [`  ${name}`, formatBytes(bytes)]),
        ["memory available", formatBytes(plan.availableMemory)],
      ]),
    ],
  ];
  const warnings = plan.warnings.map((warning) => `${colors.yellow("!")} ${warning}\n`).join("");
  return (
    sections.map(([title, body]) => `${colors.bold(title)}\n${body}\n`).join("") +
    `${warnings}Next: tunesmith train ${plan.file ?? "RECIPE"}\n`
  );
}

/** How many squares are encoded, why so many, and their part of the time. */
function describeImageCost({ images, estimate, steps }: Plan): string[][] {
  if (!images) return [];
  const { encodings, why, floatingPointOperations: own } = images;
  if (steps === undefined) return [["images", `squares encoded ${why}`]];
  const part = `${Math.round((100 * own) / estimate.floatingPointOperations)} % of the time`;
  const count = formatCount(Math.round(encodings));
  return [["images", `${count} ${count === "1" ? "square" : "squares"} encoded ${why}; ${part}`]];
}

function describeValues(values: readonly PlanValue[], colors: Colors): string {
  const text = values.map(({ path, value, origin }) => [
    path,
    typeof value === "string" ? value : JSON.stringify(value),
    describeOrigin(origin),
  ]);
  // Values that somebody chose stand out from defaults.
  return formatTable(text)
    .split("\n")
    .map((line, index) => (values[index]?.origin.kind === "default" ? colors.dim(line) : line))
    .join("\n");
}

function describeOrigin({ kind, detail }: Origin): string {
  const words: Readonly<Record<Origin["kind"], string>> = {
    default: "default",
    recipe: detail || "recipe",
    flag: `flag ${detail}`,
    checkpoint: `model: ${detail}`,
    derived: `derived: ${detail}`,
  };
  return words[kind];
}

function share(part: number, whole: number): string {
  const percent = (100 * part) / whole;
  return `${percent.toFixed(percent < 1 ? 2 : 1)} %`;
}
