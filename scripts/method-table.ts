// The table of all methods at the head of docs/methods.md, made from the code: every method is bound
// with its defaults to the embedded model, and what it declares is told.

import { readFile } from "node:fs/promises";
import { join } from "node:path";
import {
  type BoundMethod,
  bindMethod,
  type MethodOptions,
  methodDefinition,
  methodNames,
} from "../src/methods/index.ts";
import { architectureFor } from "../src/models/index.ts";
import { sizeOf } from "../src/tensor/index.ts";

const MODEL = join(import.meta.dirname, "..", "assets", "embedded-model");

/** Where a method meets the model, by the hook that it has. */
const PLACES = {
  linear: "linear layers",
  module: "the feed-forward as a whole",
  residual: "after sub-layers",
  prefix: "keys and values of attention",
  virtualTokens: "in front of the text",
  embed: "embeddings",
  output: "last states",
} as const satisfies Partial<Record<keyof BoundMethod, string>>;

/** Options without which a method cannot be bound. */
const NEEDED: Readonly<Record<string, object>> = {
  prompt: { virtualTokens: 20 },
  prefix: { virtualTokens: 20 },
  "p-tuning": { virtualTokens: 20 },
};

export async function methodTable(): Promise<string> {
  const config = JSON.parse(await readFile(join(MODEL, "config.json"), "utf8"));
  const architecture = architectureFor(config, MODEL);
  const model = { ...architecture, modelType: String(config.model_type), source: "model" };
  const all = architecture.weights.reduce((sum, { shape }) => sum + sizeOf(shape), 0);
  const rows = methodNames.map((name) => {
    const definition = methodDefinition(name);
    const method = bound({ name, ...NEEDED[name] } as MethodOptions, model);
    const meaning = definition.schema.shape.name.description ?? "";
    const file = definition.peft
      ? `PEFT \`${definition.peft.type}\``
      : (definition.adapterHub ?? definition.adapterSetup)
        ? "AdapterHub"
        : method?.saved === "checkpoint"
          ? "a checkpoint"
          : "as LoRA";
    if (!method) return [`\`${name}\``, meaning, "", "", "", file];
    const trained = method.parameters
      .filter(({ frozen }) => !frozen)
      .reduce((sum, { shape }) => sum + sizeOf(shape), 0);
    const places = Object.entries(PLACES).flatMap(([hook, place]) =>
      method[hook as keyof typeof PLACES] ? [place] : [],
    );
    return [
      `\`${name}\``,
      meaning,
      places.join(", ") || "weights themselves",
      percent(trained / all),
      method.unmergeable ? "no" : "yes",
      file,
    ];
  });
  const header = ["method", "", "where", "trained", "merges", "file"];
  return [header, header.map(() => "---"), ...rows]
    .map((cells) => `| ${cells.map((cell) => cell.replaceAll("|", "\\|")).join(" | ")} |`)
    .join("\n");
}

const percent = (share: number): string =>
  `${100 * share < 10 ? (100 * share).toPrecision(2) : (100 * share).toFixed(0)} %`;

/** Undefined for a method that needs more than this model: fused adapters, biases. */
function bound(
  options: MethodOptions,
  model: Parameters<typeof bindMethod>[1],
): BoundMethod | undefined {
  try {
    return bindMethod(options, model);
  } catch {
    return undefined;
  }
}
