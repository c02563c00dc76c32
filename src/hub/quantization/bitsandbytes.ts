// Quantised weights in safetensors files, laid out as bitsandbytes saves them: the codes under the
// weight's own name, and beside them scales, maps and a small JSON of facts (`QuantState.as_dict` and
// `Linear8bitLt._save_to_state_dict`, version 0.50).

import { TunesmithError } from "../../errors.ts";
import { type JsonObject, parseJsonObject } from "../json-file.ts";
import type { SafetensorsFile } from "../safetensors/safetensors.ts";
import type { TensorToWrite } from "../safetensors/safetensors-writer.ts";
import { dynamicMap } from "./double-quantization.ts";
import { BLOCK_SIZES, FOUR_BIT_CODES, type FourBitType } from "./four-bit.ts";
import { type MadeTensor, type QuantizationOptions, quantizedBytes } from "./quantization.ts";

/** For every tensor the open file that holds it. */
type Files = ReadonlyMap<string, SafetensorsFile>;

/** The type that numbers had before they were quantised. */
export type OriginalType = "F32" | "F16" | "BF16";

/** A quantised weight, seen but not read. */
export interface StoredQuantized {
  readonly type: QuantizationOptions["type"];
  readonly shape: readonly number[];
  readonly original: OriginalType;
  /** Bytes that it takes in memory. */
  readonly bytes: number;
  /** Other tensors that belong to it. */
  readonly companions: readonly string[];
  /** Of a 4-bit one: what its JSON says. */
  readonly state?: JsonObject;
}

const STATE = /^(.*)\.quant_state\.bitsandbytes__(nf4|fp4)$/;
const ROW_SCALES = /^(.*)\.SCB$/;
const ORIGINAL: Readonly<Record<string, OriginalType>> = {
  float32: "F32",
  float16: "F16",
  bfloat16: "BF16",
};

/**
 * The quantised weights among tensors, by name.
 * @throws TunesmithError (checkpoint) for facts that are missing or contradict each other
 */
export async function findQuantized(files: Files): Promise<Map<string, StoredQuantized>> {
  const found = new Map<string, StoredQuantized>();
  for (const [key, file] of files) {
    const [, weight, type] = STATE.exec(key) ?? [];
    if (weight !== undefined) {
      const state = parseJsonObject(
        new TextDecoder().decode(await readBytes(files, key)),
        `${file.path}: ${key}`,
      );
      found.set(weight, fourBitFacts(files, weight, type as FourBitType, state));
    }
    const path = ROW_SCALES.exec(key)?.[1];
    if (path !== undefined) {
      const { shape } = placeOf(files, `${path}.weight`);
      const format = `${path}.weight_format`;
      await checkRowOrder(files, format);
      const companions = [key, format];
      const bytes = quantizedBytes(shape, { type: "int8" });
      found.set(`${path}.weight`, { type: "int8", shape, original: "F16", bytes, companions });
    }
  }
  return found;
}

/** Early versions reordered 8-bit weights for one kind of GPU; absent or 0 is row after row. */
async function checkRowOrder(files: Files, key: string): Promise<void> {
  if (!files.has(key)) return;
  const [format] = await readBytes(files, key);
  if (format !== 0) throw damaged(files, key, "8-bit weights are stored row by row", `${format}`);
}

function fourBitFacts(
  files: Files,
  weight: string,
  type: FourBitType,
  state: JsonObject,
): StoredQuantized {
  const { shape, blocksize, dtype } = state;
  const original = ORIGINAL[String(dtype)];
  const isShape = Array.isArray(shape) && shape.every((length) => Number.isInteger(length));
  const { nested_offset: offset, nested_blocksize: nestedSize } = state;
  if (offset !== undefined && !(Number.isFinite(offset) && Number.isInteger(nestedSize)))
    throw damaged(
      files,
      weight,
      "its quant_state gives nested scales a finite offset and a block size",
      JSON.stringify({ nested_offset: offset, nested_blocksize: nestedSize }),
    );
  if (!isShape || original === undefined || !BLOCK_SIZES.some((size) => size === blocksize))
    throw damaged(
      files,
      weight,
      "its quant_state gives a shape, a block size of bitsandbytes and a floating type",
      JSON.stringify({ shape, blocksize, dtype }),
    );
  const names = ["absmax", "quant_map", "nested_absmax", "nested_quant_map"];
  const companions = [...names, `quant_state.bitsandbytes__${type}`]
    .map((name) => `${weight}.${name}`)
    .filter((name) => files.has(name));
  const doubleQuantization = offset !== undefined;
  const bytes = quantizedBytes(shape, { type, doubleQuantization, blockSize: Number(blocksize) });
  return { type, shape, original, bytes, companions, state };
}

/** @throws TunesmithError (checkpoint) where parts are missing or of another size than they should be */
export async function readQuantized(
  files: Files,
  name: string,
  { type, shape, state }: StoredQuantized,
): Promise<MadeTensor> {
  const size = shape.reduce((product, length) => product * length, 1);
  if (type === "int8") {
    const values = new Int8Array((await readBytes(files, name, size)).buffer);
    const key = name.replace(/weight$/, "SCB");
    return { type, shape, values, scales: await readFloats(files, key, shape[0]!) };
  }
  const blockSize = Number(state!.blocksize);
  const blocks = Math.ceil(size / blockSize);
  // Some save the codes as if they were 16-bit numbers; the bytes are the same.
  const packed = await readBytes(files, name, Math.ceil(size / 2));
  const common = { type, shape, packed, blockSize };
  if (state!.nested_offset === undefined)
    return { ...common, scales: await readFloats(files, `${name}.absmax`, blocks) };
  const nestedSize = Number(state!.nested_blocksize);
  const nested = {
    codes: await readBytes(files, `${name}.absmax`, blocks),
    map: sharedMap(await readFloats(files, `${name}.nested_quant_map`, 256)),
    scales: await readFloats(files, `${name}.nested_absmax`, Math.ceil(blocks / nestedSize)),
    blockSize: nestedSize,
    offset: Math.fround(Number(state!.nested_offset)),
  };
  return { ...common, scales: nested };
}

/** A quantised weight as the tensors that bitsandbytes would save. */
export function quantizedTensors(
  name: string,
  tensor: MadeTensor,
  original: OriginalType,
): TensorToWrite[] {
  const { type, shape, scales } = tensor;
  if (type === "int8") {
    const path = name.replace(/\.weight$/, "");
    return [
      { name, dtype: "I8", shape, data: viewBytes(tensor.values) },
      { name: `${path}.SCB`, dtype: "F32", shape: [tensor.scales.length], data: tensor.scales },
      { name: `${path}.weight_format`, dtype: "U8", shape: [], data: Uint8Array.of(0) },
    ];
  }
  const { packed, blockSize } = tensor;
  const floats = (key: string, data: Float32Array): TensorToWrite => ({
    name: `${name}.${key}`,
    dtype: "F32",
    shape: [data.length],
    data,
  });
  const bytes = (key: string, data: Uint8Array): TensorToWrite => ({
    name: `${name}.${key}`,
    dtype: "U8",
    shape: [data.length],
    data,
  });
  const state: JsonObject = {
    quant_type: type,
    blocksize: blockSize,
    dtype: Object.keys(ORIGINAL).find((each) => ORIGINAL[each] === original),
    shape,
  };
  const stateTensor = (facts: JsonObject) =>
    bytes(`quant_state.bitsandbytes__${type}`, new TextEncoder().encode(JSON.stringify(facts)));
  const common: TensorToWrite[] = [
    { name, dtype: "U8", shape: [packed.length, 1], data: packed },
    // The stored map has no negative zero.
    floats(
      "quant_map",
      FOUR_BIT_CODES[type].map((value) => value + 0),
    ),
  ];
  if (scales instanceof Float32Array)
    return [...common, floats("absmax", scales), stateTensor(state)];
  return [
    ...common,
    bytes("absmax", scales.codes),
    floats("nested_absmax", scales.scales),
    floats("nested_quant_map", scales.map),
    stateTensor({
      ...state,
      nested_blocksize: scales.blockSize,
      nested_dtype: "float32",
      nested_offset: scales.offset,
    }),
  ];
}

function placeOf(files: Files, name: string) {
  const tensor = files.get(name)?.tensors.get(name);
  if (tensor) return tensor;
  throw damaged(files, name, "a quantised weight has all its parts", `no ${name}`);
}

async function readBytes(files: Files, name: string, expected?: number): Promise<Uint8Array> {
  const { byteLength } = placeOf(files, name);
  if (expected !== undefined && byteLength !== expected)
    throw damaged(
      files,
      name,
      `the weight's shape asks for ${expected} bytes here`,
      `${byteLength} bytes`,
    );
  const target = new Uint8Array(byteLength);
  await files.get(name)!.readInto(name, target);
  return target;
}

async function readFloats(files: Files, name: string, length: number): Promise<Float32Array> {
  const { dtype } = placeOf(files, name);
  if (dtype !== "F32") throw damaged(files, name, "scales and maps are F32", dtype);
  return new Float32Array((await readBytes(files, name, 4 * length)).buffer);
}

/** The usual map once for all weights. */
function sharedMap(map: Float32Array): Float32Array {
  const usual = dynamicMap();
  return map.every((value, code) => value === usual[code]) ? usual : map;
}

const viewBytes = ({ buffer, byteOffset, byteLength }: Int8Array) =>
  new Uint8Array(buffer, byteOffset, byteLength);

function damaged(files: Files, name: string, rule: string, seen: string): TunesmithError {
  const file = files.get(name) ?? [...files.values()][0];
  return new TunesmithError("checkpoint", {
    where: `${file?.path}: ${name}`,
    rule,
    seen,
    fix: "save the model with bitsandbytes again, or fetch it anew",
  });
}
