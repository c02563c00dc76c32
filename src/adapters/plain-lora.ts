// LoRA adapters as matrices, module by module: what a folder of PEFT's holds, read without its model
// and written again. The algebra of this folder works on these.

import { type Fault, TunesmithError } from "../errors.ts";
import type { Adapter, AdapterTensor, JsonObject } from "../hub/index.ts";
import { fromLoraConfig, loraConfig, patternValue } from "../methods/index.ts";
import { isWhole } from "./whole-modules.ts";

/** What a LoRA adds to one linear module: scaling · B A. */
export interface LoraModule {
  /** [rank, inputSize] */
  readonly a: Float32Array;
  /** [outputSize, rank] */
  readonly b: Float32Array;
  readonly rank: number;
  readonly inputSize: number;
  readonly outputSize: number;
  readonly scaling: number;
}

/** A LoRA that is nothing but products of two matrices. */
export interface PlainLora {
  /** What faults call it: its folder. */
  readonly source: string;
  /** The base model's name, as the file has it. */
  readonly base: string | null;
  /** What it was trained for, as the file has it: PEFT's `task_type`. */
  readonly task: string;
  /** Names that select its modules and no others; undefined where the file says it otherwise. */
  readonly targets: readonly string[] | undefined;
  /** By path, such as `model.layers.0.self_attn.q_proj`. */
  readonly modules: ReadonlyMap<string, LoraModule>;
}

const MATRIX = /^base_model\.model\.(.+)\.lora_([AB])\.weight$/;
/** Copies of the base's own tensors that PEFT may save beside an adapter. */
const OF_THE_BASE = /embed_tokens\.weight$|base_layer\.weight$/;

/**
 * The matrices of an adapter.
 * @throws TunesmithError (checkpoint) for another method, and for a LoRA that is more than a product:
 *   trained biases or whole modules, DoRA's magnitudes, one that is relative to a changed base
 */
export function readPlainLora({ config, tensors }: Adapter, folder: string): PlainLora {
  if (config.peft_type !== "LORA")
    throw new TunesmithError("checkpoint", {
      where: `${folder}/adapter_config.json`,
      rule: "this works on LoRA adapters",
      seen: `peft_type ${JSON.stringify(config.peft_type)}`,
      fix: `convert it first: tunesmith adapter convert ${folder} --to lora --rank 8 --out DIR`,
    });
  const options = fromLoraConfig(config, folder);
  const faults = faultsOfMore(folder, { config, tensors }, options.init);
  const modules = new Map<string, LoraModule>();
  for (const [key, a] of tensors) {
    const [, path, matrix] = MATRIX.exec(key) ?? [];
    if (path === undefined || matrix !== "A") continue;
    const b = tensors.get(key.replace(/A\.weight$/, "B.weight"));
    const where = "adapter_config.json";
    const rank = patternValue(options.rankPattern ?? {}, path, where) ?? options.rank ?? 8;
    const alpha = patternValue(options.alphaPattern ?? {}, path, where) ?? options.alpha ?? 8;
    if (!b || a.shape[0] !== rank || b.shape[1] !== rank) {
      faults.push({
        where: `${folder}: ${path}`,
        rule: "A and B have the rank that adapter_config.json names",
        seen: `A [${a.shape.join(", ")}], B ${b ? `[${b.shape.join(", ")}]` : "missing"}, rank ${rank}`,
        fix: "take both files from the same training",
      });
      continue;
    }
    modules.set(path, {
      a: a.data,
      b: b.data,
      rank,
      inputSize: a.shape[1]!,
      outputSize: b.shape[0]!,
      scaling: alpha / (options.rslora ? Math.sqrt(rank) : rank),
    });
  }
  if (modules.size === 0 && faults.length === 0)
    faults.push({
      where: folder,
      rule: "a LoRA has matrices lora_A and lora_B",
      seen: `${tensors.size} tensors, none of them such a matrix`,
      fix: "name the folder that the adapter was saved to",
    });
  if (faults.length > 0) throw new TunesmithError("checkpoint", faults.slice(0, 10));
  const base = config.base_model_name_or_path;
  const { targets, exclude, layersToTransform } = options;
  const areNames = Array.isArray(targets) && !exclude?.length && !layersToTransform;
  return {
    source: folder,
    base: typeof base === "string" ? base : null,
    task: taskOf(config),
    targets: areNames ? [...(targets as readonly string[])].sort() : undefined,
    modules,
  };
}

/** The same, or undefined for an adapter that is something else. */
export function asPlainLora(adapter: Adapter, folder: string): PlainLora | undefined {
  try {
    return readPlainLora(adapter, folder);
  } catch (error) {
    if (error instanceof TunesmithError) return undefined;
    throw error;
  }
}

/** What makes a LoRA more than a product. */
function faultsOfMore(folder: string, { config, tensors }: Adapter, init: unknown): Fault[] {
  const merging = `tunesmith merge --model MODEL --adapter ${folder} --out DIR`;
  const convertible = `where its method changes linear weights alone: tunesmith adapter convert ${folder} --to lora --rank 8 --out DIR; else merge it into its model`;
  const head =
    taskOf(config) === "SEQ_CLS" ? "a classifier's head" : "a module that was trained as a whole";
  const faults: Fault[] = [...tensors.keys()]
    .filter((key) => !MATRIX.test(key) && !OF_THE_BASE.test(key))
    .map((key) => ({
      where: `${folder}: ${key}`,
      rule: "the adapter is matrices A and B of linear modules, and nothing else",
      seen: isWhole(config, key) ? head : "another trained tensor",
      fix: isWhole(config, key) ? `merge it into its model: ${merging}` : convertible,
    }));
  if (init === "pissa" || init === "olora")
    faults.push({
      where: `${folder}/adapter_config.json: init_lora_weights`,
      rule: "the adapter is one on the base as it was published",
      seen: `${JSON.stringify(init)}, whose matrices hold a part of the base`,
      fix: `convert it: tunesmith adapter convert ${folder} --to lora --model MODEL --out DIR`,
    });
  return faults;
}

const taskOf = ({ task_type: task }: JsonObject): string =>
  typeof task === "string" ? task : "CAUSAL_LM";

/** The same map of a module, with the scaling inside B. */
export function withUnitScaling(module: LoraModule): LoraModule {
  const { b, scaling } = module;
  return scaling === 1 ? module : { ...module, b: b.map((x) => x * scaling), scaling: 1 };
}

interface LoraFacts extends Pick<PlainLora, "base"> {
  readonly targets?: readonly string[] | undefined;
  /** Default "CAUSAL_LM". */
  readonly task?: string;
}

/** The file of a LoRA; scalings go into B, so that alpha is the rank everywhere. */
export function toAdapter(
  modules: ReadonlyMap<string, LoraModule>,
  { base, targets, task = "CAUSAL_LM" }: LoraFacts,
): Adapter {
  const ranks = [...modules.values()].map(({ rank }) => rank);
  const common = mostCommon(ranks);
  const others = Object.fromEntries(
    [...modules].filter(([, { rank }]) => rank !== common).map(([path, { rank }]) => [path, rank]),
  );
  const tensors = new Map<string, AdapterTensor>();
  for (const [path, module] of modules) {
    const { a, b, rank, inputSize, outputSize } = withUnitScaling(module);
    const prefix = `base_model.model.${path}`;
    tensors.set(`${prefix}.lora_A.weight`, { shape: [rank, inputSize], data: a });
    tensors.set(`${prefix}.lora_B.weight`, { shape: [outputSize, rank], data: b });
  }
  const config: JsonObject = loraConfig({
    task_type: task,
    base_model_name_or_path: base,
    r: common,
    lora_alpha: common,
    target_modules: [...(targets ?? modules.keys())],
    rank_pattern: others,
    alpha_pattern: others,
  });
  return { config, tensors };
}

function mostCommon(values: readonly number[]): number {
  const counts = new Map<number, number>();
  for (const value of values) counts.set(value, (counts.get(value) ?? 0) + 1);
  return [...counts].sort(([a, i], [b, j]) => j - i || b - a)[0]![0];
}
