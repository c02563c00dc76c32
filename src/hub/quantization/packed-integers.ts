// Four-bit weights as GPTQ and AWQ save them: whole numbers with a scale and a zero point for a group of
// inputs, eight of them in each 32-bit word. They are widened when read, since the store of frozen weights
// has no such groups. Layouts: `QuantLinear` of AutoGPTQ and GPTQModel, `WQLinear_GEMM` of AutoAWQ.

import { TunesmithError } from "../../errors.ts";
import { encodeHalf, type HalfKind } from "../half.ts";
import { isJsonObject, type JsonObject } from "../json-file.ts";
import type { SafetensorsFile } from "../safetensors/safetensors.ts";
import { readFloat32 } from "../safetensors/safetensors-float32.ts";

/** For every tensor the open file that holds it. */
type Files = ReadonlyMap<string, SafetensorsFile>;

/** How a checkpoint's words are laid out. */
export interface PackedLayout {
  readonly method: "gptq" | "awq";
  /** What zero points are stored less: GPTQ's first format takes 1 off. */
  readonly zeroOffset: 0 | 1;
}

/** A packed weight, seen but not read. */
export interface StoredPacked {
  /** [out, in]. */
  readonly shape: readonly number[];
  /** The scales' type, which the weight is widened to. */
  readonly dtype: HalfKind | "F32";
  readonly groups: number;
  /** Tensors that it is made of. */
  readonly companions: readonly string[];
}

/** Numbers in a word. */
const PER_WORD = 8;
/** Which of eight neighbours each four bits of AWQ's words hold, the lowest first. */
const AWQ_ORDER = [0, 2, 4, 6, 1, 3, 5, 7];
const IN_TURN = [0, 1, 2, 3, 4, 5, 6, 7];

/**
 * How the weights are packed; undefined where `config.json` names neither GPTQ nor AWQ.
 * @throws TunesmithError (checkpoint) for other bits, and for layouts of one kernel
 */
export function packedLayout(config: JsonObject, folder: string): PackedLayout | undefined {
  const settings = config.quantization_config;
  if (!isJsonObject(settings)) return undefined;
  const { quant_method: method, bits = 4 } = settings;
  if (method !== "gptq" && method !== "awq") return undefined;
  const fault = (key: string, rule: string, seen: unknown) =>
    new TunesmithError("checkpoint", {
      where: `${folder}/config.json: quantization_config.${key}`,
      rule,
      seen: JSON.stringify(seen),
      fix: "use the unquantised model; model.quantization makes it small in memory",
    });
  if (bits !== 4) throw fault("bits", `weights of ${method} that can be read have 4 bits`, bits);
  if (method === "awq") {
    const { version = "gemm" } = settings;
    if (String(version).toLowerCase() !== "gemm")
      throw fault("version", 'the layout of AWQ that can be read is "gemm"', version);
    return { method, zeroOffset: 0 };
  }
  const { checkpoint_format: format = "gptq" } = settings;
  if (format !== "gptq" && format !== "gptq_v2")
    throw fault(
      "checkpoint_format",
      'formats of GPTQ that can be read are "gptq", "gptq_v2"',
      format,
    );
  return { method, zeroOffset: format === "gptq" ? 1 : 0 };
}

/**
 * The packed weights among tensors, by the name that each has unpacked.
 * @throws TunesmithError (checkpoint) for parts that are missing or do not fit each other
 */
export function findPacked(files: Files, { method }: PackedLayout): Map<string, StoredPacked> {
  const found = new Map<string, StoredPacked>();
  for (const key of files.keys()) {
    if (!key.endsWith(".qweight")) continue;
    const path = key.slice(0, -".qweight".length);
    const [rows, columns] = shapeOf(files, key, "I32");
    const [input, output] =
      method === "gptq" ? [rows * PER_WORD, columns] : [rows, columns * PER_WORD];
    const scales = files.get(`${path}.scales`)?.tensors.get(`${path}.scales`);
    const dtype = scales?.dtype;
    if (dtype !== "F16" && dtype !== "BF16" && dtype !== "F32")
      throw damaged(files, `${path}.scales`, "scales are floating", dtype ?? "no such tensor");
    const [groups, width] = shapeOf(files, `${path}.scales`, dtype);
    const zeros = shapeOf(files, `${path}.qzeros`, "I32");
    const order = `${path}.g_idx`;
    const hasOrder = files.has(order);
    const isRegular = input % groups === 0 || hasOrder;
    if (width !== output || zeros[0] !== groups || zeros[1] * PER_WORD !== output || !isRegular)
      throw damaged(
        files,
        key,
        "scales and zero points belong to groups of its inputs and to each output",
        `a weight [${output}, ${input}], scales [${groups}, ${width}], zeros [${zeros.join(", ")}]`,
      );
    if (hasOrder && files.get(order)!.tensors.get(order)!.byteLength !== 4 * input)
      throw damaged(files, order, "g_idx has the group of every input", "another length");
    found.set(`${path}.weight`, {
      shape: [output, input],
      dtype,
      groups,
      companions: ["qweight", "qzeros", "scales", "g_idx"].map((part) => `${path}.${part}`),
    });
  }
  return found;
}

/** The numbers of a packed weight, scale · (number - zero), into `target` [out, in]. */
export async function readPacked(
  files: Files,
  name: string,
  { shape, groups }: StoredPacked,
  { method, zeroOffset }: PackedLayout,
  target: Float32Array,
): Promise<void> {
  const [output, input] = shape as readonly [number, number];
  const path = name.slice(0, -".weight".length);
  const words = await readWords(files, `${path}.qweight`);
  const zeroWords = await readWords(files, `${path}.qzeros`);
  const scales = new Float32Array(groups * output);
  await readFloat32(files.get(`${path}.scales`)!, `${path}.scales`, scales);
  const order = method === "gptq" ? IN_TURN : AWQ_ORDER;
  const zeros = new Float32Array(groups * output);
  unpack(zeroWords, order, (at, value) => {
    // Less 1 in four bits: a zero point of 0 was stored as 15.
    zeros[at] = (value + zeroOffset) & 15;
  });
  const groupOf = await readGroups(files, `${path}.g_idx`, input, groups);
  const put = (o: number, i: number, value: number) => {
    const place = groupOf[i]! * output + o;
    target[o * input + i] = scales[place]! * (value - zeros[place]!);
  };
  if (method === "awq")
    unpack(words, order, (at, value) => put(at % output, Math.floor(at / output), value));
  // GPTQ packs along the inputs: word [i, o] holds inputs 8i to 8i + 7 of output o.
  else
    unpack(words, order, (at, value) => {
      const word = Math.floor(at / PER_WORD);
      const i = Math.floor(word / output) * PER_WORD + (at % PER_WORD);
      put(word % output, i, value);
    });
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
  const data = new Float32Array(shape[0]! * shape[1]!);
  await readPacked(files, name, stored, layout, data);
  if (dtype === "F32") return target.set(new Uint8Array(data.buffer));
  const halves = new Uint16Array(data.length);
  encodeHalf(data, dtype, halves);
  target.set(new Uint8Array(halves.buffer));
}

function unpack(
  words: Int32Array,
  order: readonly number[],
  put: (at: number, value: number) => void,
): void {
  for (let word = 0; word < words.length; word++)
    for (let k = 0; k < PER_WORD; k++)
      put(word * PER_WORD + order[k]!, (words[word]! >>> (4 * k)) & 15);
}

/** The group of each input: in turn, or, where weights were taken by importance, as the file says. */
async function readGroups(files: Files, key: string, input: number, groups: number) {
  const size = input / groups;
  if (!files.has(key)) return Int32Array.from({ length: input }, (_, i) => Math.floor(i / size));
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
