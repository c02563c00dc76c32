// Any method that changes weights, as a LoRA: the difference that it makes to each weight, factored by
// singular values (PEFT's `convert_to_lora`).

import { type Fault, TunesmithError } from "../errors.ts";
import type { Adapter, AdapterTensor } from "../hub/index.ts";
import {
  type BoundMethod,
  type LinearModule,
  linearModules,
  type ModelDescription,
  type ParameterValues,
} from "../methods/index.ts";
import { createRandom } from "../runtime/random.ts";
import { factorsOf, factorsOfSum, type RankChoice } from "./factors.ts";
import { moduleByModule } from "./module-by-module.ts";
import { asPlainLora, type PlainLora, toAdapter } from "./plain-lora.ts";
import { wholeModulesApart, withModulesOf } from "./whole-modules.ts";

/**
 * The share that float32 arithmetic on a weight may be off: what a method adds to nothing and what it
 * adds to the weight are then taken to be the same.
 */
const ROUNDING = 4 * 2 ** -24;

/**
 * @param values the method's trained tensors
 * @param base a copy of a weight as the checkpoint has it
 * @throws TunesmithError (config) for a method that is no change of linear weights, and for a rank
 *   that a weight cannot have; the signal's reason where it aborts
 */
export async function convertToLora(
  method: BoundMethod,
  values: ParameterValues,
  model: ModelDescription,
  base: (weight: string) => Float32Array,
  choice: RankChoice,
  signal?: AbortSignal,
): Promise<Adapter> {
  checkConvertible(method, model, values, base);
  const random = createRandom(0).fork("convert");
  const modules = await moduleByModule(
    candidates(model).map((candidate) => [candidate.path, candidate] as const),
    (path, { inputSize, outputSize }) => {
      const use = `${path}.weight`;
      if (method.replaces.has(use)) return undefined;
      const name = path === model.outputPath ? model.outputName : use;
      const data = differenceMade(method, values, use, base(name));
      if (data.every((x) => x === 0)) return undefined;
      checkRank(choice, path, Math.min(inputSize, outputSize));
      const weight = { data, rows: outputSize, columns: inputSize };
      return factorsOf(weight, choice, random.fork(path));
    },
    signal,
  );
  if (modules.size === 0) throw nothingToConvert(method.name);
  const adapter = toAdapter(modules, {
    base: model.source,
    targets: namesOf([...modules.keys()], model),
  });
  return withWholeModules(adapter, method, values);
}

/**
 * A LoRA at another rank. Exact but for the singular values that it leaves out.
 * @throws TunesmithError (config) for a rank that a weight cannot have; the signal's reason where it
 *   aborts
 */
export async function changeRank(
  lora: PlainLora,
  choice: RankChoice,
  signal?: AbortSignal,
): Promise<Adapter> {
  const random = createRandom(0).fork("convert");
  const modules = await moduleByModule(
    lora.modules,
    (path, module) => {
      checkRank(choice, path, Math.min(module.inputSize, module.outputSize));
      return factorsOfSum([module], [1], choice, random.fork(path));
    },
    signal,
  );
  return toAdapter(modules, lora);
}

/**
 * An adapter at another rank, modules that it holds whole as they are; undefined for one that is no plain LoRA
 * beside them.
 * @param choice left out, the adapter as it is
 * @throws TunesmithError (config) for a rank that a weight cannot have; the signal's reason where it aborts
 */
export async function atRank(
  adapter: Adapter,
  folder: string,
  choice: RankChoice | undefined,
  signal?: AbortSignal,
): Promise<Adapter | undefined> {
  const { others, whole } = wholeModulesApart(adapter);
  const plain = asPlainLora(others, folder);
  if (!plain || !choice) return plain && adapter;
  return withModulesOf(await changeRank(plain, choice, signal), adapter, whole);
}

/** Every linear module, and the one in front of the logits, which may read the embedding. */
function candidates(
  model: ModelDescription,
): Pick<LinearModule, "path" | "inputSize" | "outputSize">[] {
  const output = model.weights.find(({ name }) => name === model.outputName)!;
  const [outputSize, inputSize] = output.shape as [number, number];
  return [...linearModules(model), { path: model.outputPath, inputSize, outputSize }];
}

/** What a method adds to a weight, exactly where it adds the same to every weight. */
function differenceMade(
  method: BoundMethod,
  values: ParameterValues,
  name: string,
  weight: Float32Array,
): Float32Array {
  const merged = weight.slice();
  method.mergeInto?.(name, merged, values);
  const difference = merged.map((value, i) => value - weight[i]!);
  if (difference.every((x) => x === 0)) return difference;
  const alone = new Float32Array(weight.length);
  method.mergeInto?.(name, alone, values);
  const isSame = alone.every((value, i) => {
    const scale = Math.max(Math.abs(weight[i]!), Math.abs(merged[i]!), Math.abs(value));
    return Math.abs(value - difference[i]!) <= ROUNDING * scale;
  });
  return isSame ? alone : difference;
}

function checkConvertible(
  method: BoundMethod,
  model: ModelDescription,
  values: ParameterValues,
  base: (weight: string) => Float32Array,
): void {
  const faults: Fault[] = [];
  const fault = (where: string, seen: string) =>
    faults.push({
      where,
      rule: "a LoRA changes the weights of linear modules alone",
      seen,
      fix: method.unmergeable
        ? "keep the adapter beside the model: every command takes --adapter"
        : "merge the adapter into its model instead: tunesmith merge --model MODEL --adapter DIR --out DIR",
    });
  if (method.unmergeable) fault(`converting ${method.name}`, method.unmergeable);
  else if (!method.mergeInto)
    fault(`converting ${method.name}`, "a method that trains the weights themselves");
  else
    for (const { name, role } of model.weights) {
      if (role === "linear" || role === "output" || method.replaces.has(name)) continue;
      const weight = base(name);
      const merged = weight.slice();
      method.mergeInto(name, merged, values);
      if (merged.some((value, i) => value !== weight[i])) fault(name, `a ${role} that changes`);
    }
  for (const [use, { key }] of method.replaces)
    if (
      key !== `base_model.model.${use}` ||
      !method.replaces.has(use.replace(/\.bias$/, ".weight"))
    )
      fault(use, "a trained bias");
  if (faults.length > 0) throw new TunesmithError("config", faults.slice(0, 10));
}

function checkRank(choice: RankChoice, path: string, largest: number): void {
  if (!("rank" in choice) || choice.rank <= largest) return;
  throw new TunesmithError("config", {
    where: "converting: rank",
    rule: "no rank is larger than the sides of its weight",
    seen: `${choice.rank} for ${path}, whose shorter side is ${largest}`,
    fix: `use at most ${largest}`,
  });
}

const nothingToConvert = (name: string) =>
  new TunesmithError("config", {
    where: `converting ${name}`,
    rule: "the adapter changes something",
    seen: "weights that are the base's",
    fix: "convert an adapter that was trained",
  });

/** Last names of modules, where the model has no other modules of these names. */
function namesOf(paths: readonly string[], model: ModelDescription): string[] | undefined {
  const names = [...new Set(paths.map((path) => path.split(".").at(-1)!))];
  const named = candidates(model).filter(({ path }) => names.includes(path.split(".").at(-1)!));
  return named.length === paths.length ? names : undefined;
}

/** Modules that were trained as a whole stay what they are. */
function withWholeModules(
  { config, tensors }: Adapter,
  method: BoundMethod,
  values: ParameterValues,
): Adapter {
  if (method.replaces.size === 0) return { config, tensors };
  const whole = [...method.replaces.values()].map((spec): [string, AdapterTensor] => [
    spec.key,
    { shape: spec.shape, data: values(spec) },
  ]);
  const modules = [...method.replaces.keys()].map((use) => use.replace(/\.[^.]+$/, ""));
  return {
    config: { ...config, modules_to_save: [...new Set(modules)] },
    tensors: new Map([...tensors, ...whole]),
  };
}
