// Weights of few bits as GPTQ and AWQ save them: whole numbers with a scale and a zero point for a group of
// inputs. Those of 4 bits are taken over as they are where their groups allow it; others are widened.

import { TunesmithError } from "../../errors.ts";
import { encodeHalf, type HalfKind } from "../half.ts";
import { SAFETENSORS_ELEMENT_BYTES, type SafetensorsFile } from "../safetensors/safetensors.ts";
import { readFloat32 } from "../safetensors/safetensors-float32.ts";
import { groupsInTurn, type KeptGroups, keptGroups } from "./input-groups.ts";
import { type Int4Tensor, int4Bytes } from "./int4.ts";
import type { PackedLayout } from "./packed-layout.ts";
import { codesIn, zerosIn } from "./packed-words.ts";

/** For every tensor the open file that holds it. */
type Files = ReadonlyMap<string, SafetensorsFile>;

/** A packed weight, seen but not read. */
export interface StoredPacked {
  /** [out, in]. */
  readonly shape: readonly [number, number];
  /** The scales' type, which the weight is widened to. */
  readonly dtype: HalfKind | "F32";
  readonly groups: number;
  /** Of each input. */
  readonly groupOf: Int32Array;
  /** How it is taken over, or why it cannot be. */
  readonly keeping: KeptGroups | string;
  /** Bytes that it takes in memory where it is taken over. */
  readonly bytes: number;
  /** Tensors that it is made of. */
  readonly companions: readonly string[];
}

/**
 * The packed weights among tensors, by the name that each has unpacked.
 * @throws TunesmithError (checkpoint) for parts that are missing or do not fit each other
 */
export async function findPacked(
  files: Files,
  { method, bits }: PackedLayout,
): Promise<Map<string, StoredPacked>> {
  const found = new Map<string, StoredPacked>();
  for (const key of files.keys()) {
    if (!key.endsWith(".qweight")) continue;
    const path = key.slice(0, -".qweight".length);
    const [rows, columns] = shapeOf(files, key, "I32");
    const numbersIn = (words: number) => (32 * words) / bits;
    const [input, output] =
      method === "gptq" ? [numbersIn(rows), columns] : [rows, numbersIn(columns)];
    const scales = files.get(`${path}.scales`)?.tensors.get(`${path}.scales`);
    const dtype = scales?.dtype;
    if (dtype !== "F16" && dtype !== "BF16" && dtype !== "F32")
      throw damaged(files, `${path}.scales`, "scales are floating", dtype ?? "no such tensor");
    const [groups, width] = shapeOf(files, `${path}.scales`, dtype);
    const zeros = shapeOf(files, `${path}.qzeros`, "I32");
    const order = `${path}.g_idx`;
    const hasOrder = files.has(order);
    const isRegular = Number.isInteger(input) && (input % groups === 0 || hasOrder);
    if (width !== output || zeros[0] !== groups || numbersIn(zeros[1]) !== output || !isRegular)
      throw damaged(
        files,
        key,
        "scales and zero points belong to groups of its inputs and to each output",
        `a weight [${output}, ${input}], scales [${groups}, ${width}], zeros [${zeros.join(", ")}]`,
      );
    const groupOf = hasOrder
      ? await readGroups(files, order, input, groups)
      : groupsInTurn(input, groups);
    const shape = [output, input] as const;
    const keeping = bits === 4 ? keptGroups(groupOf, groups) : `${bits} bits`;
    const isOrdered = typeof keeping === "object" && keeping.order !== undefined;
    found.set(`${path}.weight`, {
      shape,
      dtype,
      groups,
      groupOf,
      keeping,
      bytes: int4Bytes(shape, groups, SAFETENSORS_ELEMENT_BYTES[dtype], isOrdered),
      companions: ["qweight", "qzeros", "scales", "g_idx"].map((part) => `${path}.${part}`),
    });
  }
  return found;
}

/** A packed weight that can be taken over, code for code. */
export async function readInt4(
  files: Files,
  name: string,
  { shape, dtype, groups, keeping }: StoredPacked,
  layout: PackedLayout,
): Promise<Int4Tensor> {
  if (typeof keeping === "string") throw new Error(`${name} cannot be taken over: ${keeping}`);
  const [outputs, inputs] = shape;
  const { order } = keeping;
  const { code, zeros, scales } = await readParts(files, name, { shape, groups }, layout);
  const packed = new Uint8Array((outputs * inputs) / 2);
  for (let place = 0; place < inputs; place++) {
    const input = order ? order[place]! : place;
    const shift = 4 * (place & 1);
    for (let output = 0; output < outputs; output++)
      packed[(output * inputs + place) >> 1]! |= code(input, output) << shift;
  }
  const wide = transposed(scales, groups, outputs);
  return { type: "int4", shape, packed, zeros, scales: narrowed(wide, dtype), ...keeping };
}

/** The numbers of a packed weight, scale · (number - zero), into `target` [out, in]. */
export async function readPacked(
  files: Files,
  name: string,
  { shape, groups, groupOf }: StoredPacked,
  layout: PackedLayout,
  target: Float32Array,
): Promise<void> {
  const [outputs, inputs] = shape;
  const { code, zeros, scales } = await readParts(files, name, { shape, groups }, layout);
  for (let input = 0; input < inputs; input++) {
    const group = groupOf[input]!;
    for (let output = 0; output < outputs; output++)
      target[output * inputs + input] =
        scales[group * outputs + output]! * (code(input, output) - zeros[output * groups + group]!);
  }
}

/** The same as bytes in the type of its scales. */
export async function readPackedRaw(
  files: Files,
  name: string,
  stored: StoredPacked,
  layout: PackedLayout,
  target: Uint8Array,
): Promise<void> {
  const { shape, dtype } = stored;
  const data = new Float32Array(shape[0] * shape[1]);
  await readPacked(files, name, stored, layout, data);
  const narrow = narrowed(data, dtype);
  const { buffer } = narrow instanceof Float32Array ? narrow : narrow.bits;
  target.set(new Uint8Array(buffer));
}

/** @returns scales [groups, out], zero points [out, groups] */
async function readParts(
  files: Files,
  name: string,
  { shape, groups }: Pick<StoredPacked, "shape" | "groups">,
  layout: PackedLayout,
) {
  const path = name.slice(0, -".weight".length);
  const scales = new Float32Array(groups * shape[0]);
  await readFloat32(files.get(`${path}.scales`)!, `${path}.scales`, scales);
  return {
    code: codesIn(await readWords(files, `${path}.qweight`), layout, shape),
    zeros: zerosIn(await readWords(files, `${path}.qzeros`), layout, shape[0], groups),
    scales,
  };
}

function transposed(data: Float32Array, rows: number, columns: number): Float32Array<ArrayBuffer> {
  const turned = new Float32Array(data.length);
  for (let row = 0; row < rows; row++)
    for (let column = 0; column < columns; column++)
      turned[column * rows + row] = data[row * columns + column]!;
  return turned;
}

/** Numbers in a type of 16 bits, or as they are. */
function narrowed(data: Float32Array<ArrayBuffer>, dtype: HalfKind | "F32") {
  if (dtype === "F32") return data;
  const bits = new Uint16Array(data.length);
  encodeHalf(data, dtype, bits);
  return { bits, kind: dtype };
}

/** The group of each input, as the file says it. */
async function readGroups(files: Files, key: string, inputs: number, groups: number) {
  if (files.get(key)!.tensors.get(key)!.byteLength !== 4 * inputs)
    throw damaged(files, key, "g_idx has the group of every input", "another length");
  const stored = await readWords(files, key);
  const stray = stored.find((group) => group < 0 || group >= groups);
  if (stray !== undefined)
    throw damaged(files, key, `groups are numbered from 0 to ${groups - 1}`, String(stray));
  return stored;
}

async function readWords(files: Files, key: string): Promise<Int32Array> {
  const file = files.get(key)!;
  const bytes = new Uint8Array(file.tensors.get(key)!.byteLength);
  await file.readInto(key, bytes);
  return new Int32Array(bytes.buffer);
}

function shapeOf(files: Files, key: string, dtype: string): readonly [number, number] {
  const tensor = files.get(key)?.tensors.get(key);
  if (tensor?.dtype === dtype && tensor.shape.length === 2) return tensor.shape as [number, number];
  const seen = tensor ? `${tensor.dtype} [${tensor.shape.join(", ")}]` : "no such tensor";
  throw damaged(files, key, `a packed weight has a matrix of ${dtype} here`, seen);
}

function damaged(files: Files, key: string, rule: string, seen: string): TunesmithError {
  const file = files.get(key) ?? [...files.values()][0];
  return new TunesmithError("checkpoint", {
    where: `${file?.path}: ${key}`,
    rule,
    seen,
    fix: "fetch the model again, or use the unquantised one",
  });
}
