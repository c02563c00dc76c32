// What a recipe's keys must have to do with one another: rules that the schema of each alone cannot tell.

import type { Fault } from "../errors.ts";
import { idleOptions, methodDefinition } from "../methods/index.ts";
import type { Locate } from "./faults.ts";
import type { ParsedRecipe } from "./schema.ts";

/** A fault for each rule between keys that a recipe breaks. */
export function crossChecks(recipe: ParsedRecipe, locate: Locate): Fault[] {
  const faults: Fault[] = [];
  const { model, data, method, objective, train } = recipe;
  if ((model.path === undefined) === (model.id === undefined))
    faults.push({
      where: locate(["model"], "value"),
      rule: "a model is given by a path or by a hub id",
      seen: model.path === undefined ? "neither" : "both",
      fix: "write `model: ./folder`, `model: file.gguf` or `model: owner/name`",
    });
  for (const { option, ...fault } of idleOptions(method))
    faults.push({ where: locate(["method", ...option.split(".")], "value"), ...fault });
  if (model.quantization === "none" && methodDefinition(method.name).quantization)
    faults.push({
      where: locate(["model", "quantization"], "value"),
      rule: `method ${method.name} is for a quantised model`,
      seen: "model.quantization: none",
      fix: "leave model.quantization out, or use method lora",
    });
  const usual = methodDefinition(method.name).quantization?.type;
  const { arithmetic, quantization = usual ?? "int8" } = model;
  if (arithmetic === "int8" && quantization !== "int8")
    faults.push({
      where: locate(["model", "arithmetic"], "value"),
      rule: "products in 8-bit integers read weights that are kept as int8",
      seen: `model.quantization: ${quantization}${model.quantization ? "" : ` (usual for ${method.name})`}`,
      fix: usual
        ? "use method lora, set model.quantization: int8, or leave model.arithmetic out"
        : "leave model.quantization out, or model.arithmetic",
    });
  if (arithmetic === "int8" && model.quantization === undefined && isLoftq(method))
    faults.push({
      where: locate(["method", "init"], "value"),
      rule: "LoftQ's adapter belongs to the rounded weights, products in int8 to the published model",
      seen: "init: loftq with model.arithmetic: int8",
      fix: "set model.quantization: int8 too, and use the adapter on that; or another init",
    });
  faults.push(...objectiveChecks(objective, data, locate));
  if (train.earlyStopping !== undefined && data.eval === 0)
    faults.push({
      where: locate(["train", "earlyStopping"], "value"),
      rule: "stopping early needs held-out data to judge by",
      seen: "data.eval is 0",
      fix: "hold some out: data.eval: 0.1",
    });
  return faults;
}

/** What goes with some objectives alone. */
function objectiveChecks(
  { name, labels, multiple }: ParsedRecipe["objective"],
  { packing, loss, truncation }: ParsedRecipe["data"],
  locate: Locate,
): Fault[] {
  const isSft = name === "sft";
  const checks: [path: string, isWrong: boolean, rule: string, seen: unknown, fix: string][] = [
    ["objective.labels", isSft && labels !== undefined, LABELS_RULE, labels, LABELS_FIX],
    [
      "objective.multiple",
      multiple && name !== "classification",
      LABELS_RULE,
      multiple,
      LABELS_FIX,
    ],
    ["data.packing", !isSft && packing, WHOLE_RULE, packing, "set data.packing: false"],
    ["data.loss", !isSft && loss !== "auto", WHOLE_RULE, loss, "leave data.loss out"],
    [
      "data.truncation",
      !isSft && truncation === "split",
      WHOLE_RULE,
      truncation,
      "use keep_start, keep_end or drop",
    ],
  ];
  return checks
    .filter(([, isWrong]) => isWrong)
    .map(([path, , rule, seen, fix]) => ({
      where: locate(path.split("."), "value"),
      rule,
      seen: `${JSON.stringify(seen)} with objective: ${name}`,
      fix,
    }));
}

const LABELS_RULE = "labels are what objective: classification learns";
const LABELS_FIX = "set objective.name: classification, or leave it out";
const WHOLE_RULE = "a classifier judges each text as a whole";

const isLoftq = (method: ParsedRecipe["method"]) => "init" in method && method.init === "loftq";
