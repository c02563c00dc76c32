// The quantised weights of a model: as the checkpoint has them, as an earlier start left them, or
// quantised on the way in, one weight after another, so that the model is never in memory unquantised.

import { type Fault, TunesmithError } from "../../errors.ts";
import {
  BLOCK_SIZES,
  type Checkpoint,
  type MadeTensor,
  openQuantizedCache,
  QUANTIZATION_TYPES,
  type QuantizationOptions,
  type QuantizationType,
  type QuantizedTensor,
  quantize,
  quantizedBytes,
} from "../../hub/index.ts";
import type { BoundMethod } from "../../methods/index.ts";
import type { WeightSpec } from "../../models/index.ts";
import { sizeOf } from "../../tensor/index.ts";
import type { Arithmetic } from "./integer-operands.ts";
import { isForRunning, type ModelDtype } from "./model-dtype.ts";

/** Models that take less are quantised at every start: that is as quick as reading them. */
const LEAST_CACHED_BYTES = 16 * 2 ** 20;

/** What weights are kept as: made here, or taken over from a checkpoint that has them so. */
export type KeptQuantization = QuantizationOptions | { readonly type: "int4" };

/** The same as a caller may leave it open. */
export type AskedQuantization = Partial<Omit<QuantizationOptions, "type">> & {
  readonly type?: QuantizationType | undefined;
};

export interface QuantizedSource {
  readonly checkpoint: Checkpoint;
  readonly specs: readonly WeightSpec[];
  /** How the other weights are kept; what `quantization` asks for goes before. */
  readonly dtype: ModelDtype;
  /** What to quantise the linear weights to; absent: only what the checkpoint has quantised. */
  readonly quantization?: KeptQuantization | undefined;
  /** Folder to keep quantised weights in, and from how many bytes on. */
  readonly cache?: { readonly folder: string; readonly leastBytes?: number };
}

/**
 * How linear weights are to be kept: as asked for, else as the checkpoint has them (undefined), else
 * as is usual for the method.
 * @throws TunesmithError (config) for a block size that there is not, for products in whole numbers
 *   of weights that are to be kept otherwise than as int8
 */
export function chooseQuantization(
  asked: AskedQuantization = {},
  checkpoint: Checkpoint,
  usual: QuantizationOptions | undefined,
  arithmetic: Arithmetic = "float32",
): KeptQuantization | undefined {
  if (arithmetic === "int8") return forIntegers(asked, checkpoint, usual);
  if (asked.type === undefined && isQuantized(checkpoint)) return undefined;
  const type = asked.type ?? usual?.type;
  if (type === undefined) return undefined;
  if (type === "int4") return { type };
  const { doubleQuantization = true, blockSize = 64 } = { ...usual, ...asked };
  checkOptions(type, blockSize);
  return { type, doubleQuantization, blockSize };
}

function forIntegers(
  asked: AskedQuantization,
  { tensors }: Checkpoint,
  usual: QuantizationOptions | undefined,
): QuantizationOptions | undefined {
  const own = [...tensors.values()].find(({ quantization }) => quantization)?.quantization;
  const type = asked.type ?? usual?.type ?? "int8";
  const kept = own ?? type;
  if (kept === "int8") return own ? undefined : { type: kept };
  throw new TunesmithError("config", {
    where: "arithmetic",
    rule: "products in 8-bit integers read weights that are kept as int8",
    seen: own ? `a checkpoint quantised to ${own}` : `quantization: ${type}`,
    fix: own
      ? "leave arithmetic out, or use the unquantised model"
      : "set quantization: int8, or leave arithmetic out",
  });
}

function checkOptions(type: QuantizationOptions["type"], blockSize: number): void {
  const faults: Fault[] = [];
  if (!QUANTIZATION_TYPES.includes(type))
    faults.push({
      where: "quantization",
      rule: `is one of ${QUANTIZATION_TYPES.join(", ")}`,
      seen: JSON.stringify(type),
      fix: "choose one of these, or leave it out",
    });
  if (!BLOCK_SIZES.some((size) => size === blockSize))
    faults.push({
      where: "quantizationBlockSize",
      rule: `is one of ${BLOCK_SIZES.join(", ")}`,
      seen: String(blockSize),
      fix: "leave it out: 64 is usual",
    });
  if (faults.length > 0) throw new TunesmithError("config", faults);
}

/** Whether a checkpoint has quantised weights. */
function isQuantized({ tensors }: Checkpoint): boolean {
  return [...tensors.values()].some(({ quantization }) => quantization !== undefined);
}

/**
 * The weights that are kept quantised: those of a quantised checkpoint, else, where it is asked for,
 * the linear layers but the output matrix, as bitsandbytes has it. For running a model, what is in whole
 * numbers already.
 * @throws TunesmithError (config) for a checkpoint that is quantised otherwise than asked for
 */
export function quantizedSpecs({ checkpoint, specs, dtype, quantization }: QuantizedSource) {
  const typeOf = ({ name }: WeightSpec) => checkpoint.tensors.get(name)?.quantization;
  if (isForRunning(dtype)) return specs.filter((spec) => typeOf(spec) === "int4");
  if (dtype === "float32" && !quantization) return [];
  if (!isQuantized(checkpoint)) {
    if (quantization?.type === "int4") throw notInt4(checkpoint);
    return quantization ? specs.filter(({ role }) => role === "linear") : [];
  }
  const stored = specs.filter(typeOf);
  if (quantization) checkSameType(checkpoint, stored, quantization);
  return stored;
}

/** All weights that are kept quantised, by name. @throws TunesmithError as `quantizedSpecs` does */
export async function loadQuantized(
  source: QuantizedSource,
): Promise<ReadonlyMap<string, QuantizedTensor>> {
  const { checkpoint, quantization } = source;
  const specs = quantizedSpecs(source);
  if (quantization && quantization.type !== "int4" && !isQuantized(checkpoint))
    return quantizeAll(specs, source, quantization);
  const weights = new Map<string, QuantizedTensor>();
  for (const { name } of specs) weights.set(name, await checkpoint.readQuantized!(name));
  return weights;
}

async function quantizeAll(
  linear: readonly WeightSpec[],
  { checkpoint, cache }: QuantizedSource,
  options: QuantizationOptions,
): Promise<ReadonlyMap<string, MadeTensor>> {
  const bytes = linear.reduce((sum, { shape }) => sum + quantizedBytes(shape, options), 0);
  const isKept = cache && bytes >= (cache.leastBytes ?? LEAST_CACHED_BYTES);
  const kept = isKept ? await openQuantizedCache(cache.folder, checkpoint, options) : undefined;
  const names = linear.map(({ name }) => name);
  const known = await kept?.read(names);
  if (known) return known;

  const scratch = new Float32Array(Math.max(0, ...linear.map(({ shape }) => sizeOf(shape))));
  const weights = new Map<string, MadeTensor>();
  for (const { name, shape } of linear) {
    const data = scratch.subarray(0, sizeOf(shape));
    await checkpoint.readFloat32Into(name, data);
    weights.set(name, quantize(data, shape, options));
  }
  await kept?.write(weights);
  return weights;
}

function checkSameType(
  checkpoint: Checkpoint,
  stored: readonly WeightSpec[],
  { type }: KeptQuantization,
): void {
  const other = stored.find(({ name }) => checkpoint.tensors.get(name)!.quantization !== type);
  if (!other) return;
  throw new TunesmithError("config", {
    where: "model.quantization",
    rule: "a checkpoint that is quantised already stays as it is",
    seen: `${type} is asked for; ${checkpoint.source} has ${checkpoint.tensors.get(other.name)!.quantization}`,
    fix: "leave quantization out, or use the unquantised model",
  });
}

const notInt4 = ({ source }: Checkpoint) =>
  new TunesmithError("config", {
    where: "model.quantization",
    rule: "int4 is taken over from checkpoints that GPTQ or AWQ made, and not made here",
    seen: `${source}, which has no such weights`,
    fix: `use one of ${QUANTIZATION_TYPES.join(", ")}, or leave it out`,
  });

/**
 * Refuses methods that change weights which are kept quantised, and those that start from what quantising
 * takes away where it takes nothing.
 * @throws TunesmithError (config) naming what each would change
 */
export function checkMethodOverQuantized(
  method: BoundMethod,
  source: QuantizedSource,
  arithmetic: Arithmetic = "float32",
): void {
  const quantized = new Set(quantizedSpecs(source).map(({ name }) => name));
  const trained = [...method.replaces.keys()].filter((name) => quantized.has(name));
  const taken = [...(method.takenFromBase?.keys() ?? [])].filter((name) => quantized.has(name));
  const plain =
    arithmetic === "float32"
      ? "load the model without quantization (one that has it: with dtype float32)"
      : "leave arithmetic out";
  const faults: Fault[] = [];
  const named = (names: readonly string[]) =>
    names.length > 1 ? `${names[0]} and ${names.length - 1} more` : names[0]!;
  if (trained.length > 0)
    faults.push({
      where: `method ${method.name}`,
      rule: "quantised weights are frozen: a method over them trains tensors of its own",
      seen: `it trains ${named(trained)}`,
      fix: `${plain}, or train an adapter such as method lora`,
    });
  else if (arithmetic === "int8" && method.saved === "checkpoint")
    faults.push({
      where: `method ${method.name}`,
      rule: "what writes a whole checkpoint reads its weights unrounded",
      seen: "arithmetic: int8, which keeps them as int8",
      fix: plain,
    });
  if (taken.length > 0)
    faults.push({
      where: `method ${method.name}: init`,
      rule: "an initialisation that takes a part out of the weights needs them unquantised",
      seen: `it would change ${named(taken)}`,
      fix: `use init: true, or ${plain}`,
    });
  const isRounded = (name: string) =>
    quantized.has(name) && source.checkpoint.tensors.get(name)?.quantization === undefined;
  const unrounded = (method.startsFromRounding ?? []).filter((name) => !isRounded(name));
  if (unrounded.length > 0)
    faults.push({
      where: "method.init",
      rule: "loftq starts from what quantisation takes from the weights as they were published",
      seen: `${named(unrounded)}, of which it takes nothing`,
      fix: "use method qlora on a checkpoint that is not quantised yet, or init: true",
    });
  if (faults.length > 0) throw new TunesmithError("config", faults);
}
