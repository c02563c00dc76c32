// The table of all methods at the head of docs/methods.md, made from the code: every method is bound
// with its defaults to the embedded model, and what it declares is told.

import { readFile } from "node:fs/promises";
import { join } from "node:path";
import {
  type BoundMethod,
  bindMethod,
  countParameters,
  type MethodName,
  type MethodOptions,
  methodDefinition,
  methodNames,
} from "../src/methods/index.ts";
import { architectureFor } from "../src/models/index.ts";
import { referenceOf } from "../src/recipe/reference.ts";
import { sizeOf } from "../src/tensor/index.ts";

const ROOT = join(import.meta.dirname, "..");
const MODEL = join(ROOT, "assets", "embedded-model");
/** Three trained adapters: which tensors a fusion trains does not depend on what they learnt. */
const FUSED = join(ROOT, "tests", "parity", "cases", "adapterhub", "fusion-static", "adapter");

/** Two trained LoRAs, for the same. */
const MIXED = join(ROOT, "tests", "parity", "cases", "xlora", "softmax", "adapter");

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
const NEEDED: Partial<Record<MethodName, object>> = {
  prompt: { virtualTokens: 20 },
  prefix: { virtualTokens: 20 },
  "p-tuning": { virtualTokens: 20 },
  "x-lora": { adapters: ["expert-0", "expert-1"].map((name) => join(MIXED, name)) },
  "adapter-fusion": { adapters: ["alpha", "beta", "gamma"].map((name) => join(FUSED, name)) },
};

export async function methodTable(): Promise<string> {
  const config = JSON.parse(await readFile(join(MODEL, "config.json"), "utf8"));
  const architecture = architectureFor(config, MODEL);
  const model = { ...architecture, modelType: String(config.model_type), source: "model" };
  const all = architecture.weights.reduce((sum, { shape }) => sum + sizeOf(shape), 0);
  const rows = methodNames.map((name) => {
    const method = bindMethod({ name, ...NEEDED[name] } as MethodOptions, model);
    const places = Object.entries(PLACES).flatMap(([hook, place]) =>
      method[hook as keyof typeof PLACES] ? [place] : [],
    );
    return [
      `[\`${name}\`](${referenceOf("method", name)})`,
      methodDefinition(name).schema.shape.name.description ?? "",
      places.join(", ") || "weights themselves",
      percent(countParameters(method).trained / all),
      method.unmergeable ? "no" : "yes",
      fileOf(name, method),
    ];
  });
  const header = ["method", "", "where", "trained", "merges", "file"];
  return [header, header.map(() => "---"), ...rows]
    .map((cells) => `| ${cells.map((cell) => cell.replaceAll("|", "\\|")).join(" | ")} |`)
    .join("\n");
}

/** Whose file a method writes. */
function fileOf(name: MethodName, { saved }: BoundMethod): string {
  const { libraries, peft, adapterHub, adapterSetup } = methodDefinition(name);
  if (saved === "checkpoint") return "a checkpoint";
  if (libraries) return Object.values(libraries).join(", ");
  if (peft) return `PEFT \`${peft.type}\``;
  return (adapterHub ?? adapterSetup) ? "AdapterHub" : "as LoRA";
}

const percent = (share: number): string =>
  `${100 * share < 10 ? (100 * share).toPrecision(2) : (100 * share).toFixed(0)} %`;
