// The frozen weights of a model, once in memory. A 16-bit checkpoint stays 16-bit and a quantised one
// quantised: a weight is widened into scratch memory right before the kernel that reads it runs.

import { type Fault, TunesmithError } from "../../errors.ts";
import {
  bytesOf,
  type Checkpoint,
  createWideArray,
  decodeHalf,
  dequantize,
  type HalfKind,
  type Int8Tensor,
  type QuantizedTensor,
  quantize,
} from "../../hub/index.ts";
import type { WeightSpec } from "../../models/index.ts";
import type { Value } from "../../runtime/kernel.ts";
import { floats, rowsFrom } from "../../runtime/values.ts";
import { sameShape, sizeOf } from "../../tensor/index.ts";
import {
  type BlockMatrix,
  type BlockOperands,
  blockBytes,
  blockOperands,
  decodeBlockRow,
  decodeBlocks,
  int4Operands,
  toBlocks,
} from "./block-weights.ts";
import {
  type Arithmetic,
  type IntegerOperands,
  integerOperands,
  type RowOperands,
  rowOperands,
} from "./integer-operands.ts";
import { blockBits, isForRunning } from "./model-dtype.ts";
import { loadQuantized, type QuantizedSource } from "./quantized-weights.ts";

export interface WeightStore {
  /**
   * A weight for one kernel run. Values asked for under different slots are valid together; a slot
   * asked for again overwrites what it held, where the weight had to be widened.
   */
  value(name: string, slot: number): Value;
  /**
   * Rows of a matrix that is not quantised, for one kernel run; asked for again, as many rows of as wide
   * a matrix overwrite them, where they had to be widened.
   */
  rows(name: string, start: number, end: number): Value;
  /** A copy as float32. */
  copy(name: string): Float32Array;
  /** Copies rows of a matrix (an embedding) into `target`, one after another. */
  readRows(name: string, rows: ArrayLike<number>, target: Float32Array): void;
  has(name: string): boolean;
  /** Whether `value` has to widen a weight, into memory that each slot has its own of. */
  isWidened(name: string): boolean;
  /** Whether matrices are in blocks, which have no way back: nothing can be trained above them. */
  readonly isForRunning: boolean;
  /** How products with frozen weights are computed. */
  readonly arithmetic: Arithmetic;
  /** A linear weight for products in whole numbers, where they are asked for. */
  integers(name: string): IntegerOperands | undefined;
  /** Any matrix in whole numbers, row by row, for products with its columns alone. */
  integerRows(name: string): RowOperands;
  /**
   * A matrix in blocks of few bits, where the model was opened to be run in them, or its checkpoint has
   * such blocks. Products with it are rounded and have no gradient.
   */
  blocks(name: string): BlockOperands | undefined;
  /** The weight as it is kept, where that is quantised. */
  quantized(name: string): QuantizedTensor | undefined;
  /**
   * Puts other numbers in a weight's place; it is float32 from then on.
   * @returns what puts back the weight as it was
   */
  replace(name: string, data: Float32Array): () => void;
  /** How often weights were replaced or put back: kernels that hold some are then to be made anew. */
  readonly replacements: number;
  /** Forgets weights that are trained and therefore live elsewhere. */
  drop(name: string): void;
  /** Bytes of all weights. */
  readonly bytes: number;
}

type Stored =
  | { readonly spec: WeightSpec; readonly floats: Value }
  | { readonly spec: WeightSpec; readonly half: Uint16Array; readonly kind: HalfKind }
  | { readonly spec: WeightSpec; readonly quantized: QuantizedTensor }
  | { readonly spec: WeightSpec; readonly blocks: BlockMatrix };

/** Where rows are widened to, apart from the slots of any kernel's inputs. */
const ROWS_SLOT = -1;

type Narrow = Exclude<Stored, { readonly floats: Value }>;

/**
 * Reads all weights of a checkpoint.
 * @param source `dtype` "auto" keeps 16-bit and quantised tensors as they are, "float32" widens them once;
 *   "q4" and "q8" put matrices in blocks, but for those that a checkpoint has in 4 bits of whole numbers
 * @param arithmetic "int8" has `integers` for linear weights
 * @throws TunesmithError (checkpoint) naming every tensor that is missing or has the wrong shape,
 *   (config) for a checkpoint that is quantised otherwise than asked for
 */
export async function loadWeights(
  source: QuantizedSource,
  arithmetic: Arithmetic = "float32",
): Promise<WeightStore> {
  const { checkpoint, specs, dtype } = source;
  checkTensors(checkpoint, specs);
  const quantized = await loadQuantized(source);
  const readOne = async (spec: WeightSpec): Promise<Stored> => {
    const small = quantized.get(spec.name);
    if (small) return { spec, quantized: small };
    const size = sizeOf(spec.shape);
    const kind = checkpoint.tensors.get(spec.name)!.dtype;
    const bits = blockBits(dtype, spec);
    if (!bits && dtype === "auto" && (kind === "F16" || kind === "BF16")) {
      const half = new Uint16Array(size);
      await checkpoint.readRawInto(spec.name, new Uint8Array(half.buffer));
      return { spec, half, kind };
    }
    const data = new Float32Array(size);
    await checkpoint.readFloat32Into(spec.name, data);
    return bits
      ? { spec, blocks: toBlocks(data, spec.shape, bits) }
      : { spec, floats: floats(data, spec.shape) };
  };
  const stored = await readAll(specs, readOne);

  const scratch = new Map<string, Float32Array>();
  const blockCache = new Map<string, BlockOperands>();
  const integers = new Map<string, IntegerOperands>();
  const integerRows = new Map<string, RowOperands>();
  let replacements = 0;
  const get = (name: string): Stored => {
    const entry = stored.get(name);
    if (!entry) throw new Error(`weight ${name} is not in the store`);
    return entry;
  };
  const scratchFor = (slot: number, size: number): Float32Array => {
    const key = `${slot}:${size}`;
    const target = scratch.get(key) ?? createWideArray(size);
    scratch.set(key, target);
    return target;
  };
  return {
    value(name, slot) {
      const entry = get(name);
      if ("floats" in entry) return entry.floats;
      const target = scratchFor(slot, sizeOf(entry.spec.shape));
      widen(entry, target);
      return floats(target, entry.spec.shape);
    },
    rows(name, start, end) {
      const entry = get(name);
      if ("floats" in entry) return rowsFrom(entry.floats, start, end);
      if (!("half" in entry)) throw new Error(`${name} is quantised, and not read in rows`);
      const width = entry.spec.shape[1]!;
      const target = scratchFor(ROWS_SLOT, (end - start) * width);
      decodeHalf(entry.half.subarray(start * width, end * width), entry.kind, target);
      return floats(target, [end - start, width]);
    },
    copy(name) {
      const entry = get(name);
      if ("floats" in entry) return (entry.floats.data as Float32Array).slice();
      const target = new Float32Array(sizeOf(entry.spec.shape));
      widen(entry, target);
      return target;
    },
    readRows(name, rows, target) {
      const entry = get(name);
      if ("quantized" in entry) throw new Error(`${name} is quantised: embeddings are not`);
      const width = entry.spec.shape[1]!;
      for (let i = 0; i < rows.length; i++) {
        const start = rows[i]! * width;
        const into = target.subarray(i * width, (i + 1) * width);
        if ("blocks" in entry) decodeBlockRow(entry.blocks, rows[i]!, into);
        else if ("floats" in entry)
          into.set((entry.floats.data as Float32Array).subarray(start, start + width));
        else decodeHalf(entry.half.subarray(start, start + width), entry.kind, into);
      }
    },
    has: (name) => stored.has(name),
    isWidened: (name) => stored.has(name) && !("floats" in get(name)),
    isForRunning: isForRunning(dtype),
    arithmetic,
    integers(name) {
      const entry = stored.get(name);
      if (arithmetic === "float32" || entry?.spec.role !== "linear") return undefined;
      let operands = integers.get(name);
      if (!operands) {
        operands = integerOperands(asInt8(entry));
        integers.set(name, operands);
      }
      return operands;
    },
    integerRows(name) {
      const rows = integerRows.get(name) ?? rowOperands(asInt8(get(name)));
      integerRows.set(name, rows);
      return rows;
    },
    blocks(name) {
      const entry = stored.get(name);
      const operands = blockCache.get(name) ?? (entry && operandsOf(entry));
      if (operands) blockCache.set(name, operands);
      return operands;
    },
    quantized(name) {
      const entry = stored.get(name);
      return entry && "quantized" in entry ? entry.quantized : undefined;
    },
    replace(name, data) {
      const before = get(name);
      const { spec } = before;
      const put = (entry: Stored) => {
        replacements++;
        stored.set(name, entry);
        integers.delete(name);
        integerRows.delete(name);
        blockCache.delete(name);
      };
      put({ spec, floats: floats(data, spec.shape) });
      return () => put(before);
    },
    get replacements() {
      return replacements;
    },
    drop(name) {
      stored.delete(name);
      integers.delete(name);
      integerRows.delete(name);
      blockCache.delete(name);
    },
    get bytes() {
      let total = 0;
      for (const entry of stored.values()) total += bytesHeld(entry);
      for (const { transposed } of integers.values()) total += sizeOf(transposed.dims);
      for (const { codes } of integerRows.values()) total += sizeOf(codes.dims);
      return total;
    },
  };
}

/** Weights that are read at a time: while one comes from the disk, another is decoded. */
const READERS = 2;

/** All weights, in the order of `specs`. The first fault is thrown when no read is under way any more. */
async function readAll(
  specs: readonly WeightSpec[],
  readOne: (spec: WeightSpec) => Promise<Stored>,
): Promise<Map<string, Stored>> {
  const read: Stored[] = [];
  const queue = specs.entries();
  let fault: { readonly error: unknown } | undefined;
  const reader = async () => {
    for (const [index, spec] of queue) {
      if (fault) return;
      try {
        read[index] = await readOne(spec);
      } catch (error) {
        fault ??= { error };
      }
    }
  };
  await Promise.all(Array.from({ length: READERS }, reader));
  if (fault) throw fault.error;
  return new Map(read.map((entry) => [entry.spec.name, entry]));
}

function widen(entry: Narrow, target: Float32Array): void {
  if ("half" in entry) decodeHalf(entry.half, entry.kind, target);
  else if ("blocks" in entry) decodeBlocks(entry.blocks, target);
  else dequantize(entry.quantized, target);
}

function operandsOf(entry: Stored): BlockOperands | undefined {
  if ("blocks" in entry) return blockOperands(entry.blocks);
  return "quantized" in entry && entry.quantized.type === "int4"
    ? int4Operands(entry.quantized)
    : undefined;
}

function asInt8(entry: Stored): Int8Tensor {
  if ("quantized" in entry && entry.quantized.type === "int8") return entry.quantized;
  const { shape } = entry.spec;
  const data = new Float32Array(sizeOf(shape));
  if ("floats" in entry) data.set(entry.floats.data as Float32Array);
  else widen(entry, data);
  return quantize(data, shape, { type: "int8" }) as Int8Tensor;
}

function bytesHeld(entry: Stored): number {
  if ("quantized" in entry) return bytesOf(entry.quantized);
  if ("blocks" in entry) return blockBytes(entry.blocks);
  return "half" in entry ? entry.half.byteLength : sizeOf(entry.spec.shape) * 4;
}

/** @throws TunesmithError (checkpoint) naming every tensor that is missing, misshapen or has no place */
export function checkTensors(checkpoint: Checkpoint, specs: readonly WeightSpec[]): void {
  const faults: Fault[] = [];
  for (const { name, shape } of specs) {
    const tensor = checkpoint.tensors.get(name);
    const seen = tensor ? `[${tensor.shape.join(", ")}]` : "no such tensor";
    if (tensor && sameShape(tensor.shape, shape)) continue;
    faults.push({
      where: `${checkpoint.source}: ${name}`,
      rule: `config.json asks for a tensor of shape [${shape.join(", ")}]`,
      seen,
      fix: "check that the weights and config.json belong to the same model",
    });
  }
  // Buffers that older exports carry are derived from the config and do no harm.
  const known = new Set(specs.map((spec) => spec.name));
  const outputs = new Set(["lm_head.weight"]);
  for (const name of checkpoint.tensors.keys()) {
    if (known.has(name) || outputs.has(name) || name.endsWith("rotary_emb.inv_freq")) continue;
    faults.push({
      where: `${checkpoint.source}: ${name}`,
      rule: "every tensor has a place in the architecture that config.json names",
      seen: "a tensor that it does not have",
      fix: "check model_type and the bias settings in config.json",
    });
  }
  if (faults.length > 0) throw new TunesmithError("checkpoint", faults.slice(0, 20));
}
