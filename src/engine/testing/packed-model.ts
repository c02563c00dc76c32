// A checkpoint of plain weights written again as GPTQ or AWQ would pack it: every number rounded to the nearest
// in its group, since how the libraries choose codes has no part in how they are stored.

import { readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { openCheckpoint, type TensorToWrite, writeSafetensors } from "../../hub/index.ts";
import { architectureFor, type WeightSpec } from "../../models/index.ts";
import { createRandom } from "../../runtime/random.ts";
import { sizeOf } from "../../tensor/index.ts";
import { checkpointView, transposeInto } from "../weights/checkpoint-view.ts";

export interface Packing {
  readonly method: "gptq" | "awq";
  /** Default 4. */
  readonly bits?: 2 | 4 | 8;
  readonly groupSize: number;
  /** Whether groups are of inputs in some other order (`desc_act`). */
  readonly isShuffled?: boolean;
  /** Whether the zero point is in the middle of the codes for all. */
  readonly isSymmetric?: boolean;
}

/** Writes a model of random weights as wide as words and groups need it: `source` has another width within. */
export async function writeWiderModel(source: string, folder: string): Promise<void> {
  const config = JSON.parse(await readFile(join(source, "config.json"), "utf8"));
  config["n_inner" in config ? "n_inner" : "intermediate_size"] = 64;
  const random = createRandom(11);
  const tensors = architectureFor(config, source).weights.map(
    ({ name, shape, isTransposed }): TensorToWrite => ({
      name,
      shape: isTransposed ? shape.toReversed() : shape,
      dtype: "F32",
      data: Float32Array.from({ length: sizeOf(shape) }, () =>
        shape.length === 1 ? 1 : 0.3 * random.normal(),
      ),
    }),
  );
  await writeSafetensors(join(folder, "model.safetensors"), tensors);
  await writeFile(join(folder, "config.json"), JSON.stringify(config));
}

/** Whether words and groups come out even; other weights stay 16-bit, as what is left out of quantising does. */
export const isPackable = ({ shape: [outputs, inputs], role }: WeightSpec): boolean =>
  role === "linear" && outputs! % 16 === 0 && inputs! % 32 === 0;

/** Writes the packed form of the checkpoint in `source`, of its linear weights, into an existing folder. */
export async function writePackedModel(
  source: string,
  folder: string,
  packing: Packing,
): Promise<void> {
  const { method, bits = 4, groupSize } = packing;
  const opened = await openCheckpoint(source);
  const architecture = architectureFor(opened.config, source);
  const checkpoint = checkpointView(opened, architecture);
  const tensors: TensorToWrite[] = [];
  for (const spec of architecture.weights) {
    const { name, shape, isTransposed } = spec;
    const data = new Float32Array(sizeOf(shape));
    await checkpoint.readFloat32Into(name, data);
    if (isPackable(spec))
      tensors.push(
        ...pack(name.replace(/\.weight$/, ""), data, shape as [number, number], packing),
      );
    else if (isTransposed) {
      const turned = new Float32Array(data.length);
      transposeInto(data, shape[0]!, shape[1]!, turned);
      tensors.push({ name, shape: shape.toReversed(), dtype: "F16", data: turned });
    } else tensors.push({ name, shape, dtype: "F16", data });
  }
  await writeSafetensors(join(folder, "model.safetensors"), tensors);
  const settings = { quant_method: method, bits, group_size: groupSize, desc_act: false };
  const own =
    method === "awq" ? { version: "gemm", zero_point: true } : { checkpoint_format: "gptq" };
  const config = { ...opened.config, quantization_config: { ...settings, ...own } };
  await writeFile(join(folder, "config.json"), JSON.stringify(config));
  await opened.writeSideFiles(folder);
  await opened.close();
}

/** The numbers of a word, the lowest bits first. */
const ORDER = { gptq: [0, 1, 2, 3, 4, 5, 6, 7], awq: [0, 2, 4, 6, 1, 3, 5, 7] } as const;

function pack(
  path: string,
  data: Float32Array,
  [outputs, inputs]: readonly [number, number],
  { method, bits = 4, groupSize, isShuffled = false, isSymmetric = false }: Packing,
): TensorToWrite[] {
  const groups = Math.ceil(inputs / groupSize);
  const places = Array.from({ length: inputs }, (_, i) => i);
  if (isShuffled) createRandom(inputs).shuffle(places);
  const groupOf = places.map((place) => Math.floor(place / groupSize));
  const top = 2 ** bits - 1;
  const middle = 2 ** (bits - 1);
  const scales = new Float32Array(groups * outputs);
  const zeros = new Int32Array(groups * outputs);
  const codes = new Int32Array(inputs * outputs);
  for (let output = 0; output < outputs; output++) {
    const row = data.subarray(output * inputs, (output + 1) * inputs);
    const lowest = new Float64Array(groups);
    const highest = new Float64Array(groups);
    row.forEach((value, input) => {
      const group = groupOf[input]!;
      lowest[group] = Math.min(lowest[group]!, value);
      highest[group] = Math.max(highest[group]!, value);
    });
    for (let group = 0; group < groups; group++) {
      const [low, high] = [lowest[group]!, highest[group]!];
      const width = isSymmetric ? Math.max(-low, high) / (middle - 1) : (high - low) / top;
      const scale = width || 1;
      scales[group * outputs + output] = scale;
      zeros[group * outputs + output] = isSymmetric
        ? middle
        : Math.max(1, Math.min(top, Math.round(-low / scale)));
    }
    row.forEach((value, input) => {
      const at = groupOf[input]! * outputs + output;
      const code = Math.round(value / scales[at]!) + zeros[at]!;
      codes[input * outputs + output] = Math.max(0, Math.min(top, code));
    });
  }
  const perWord = 32 / bits;
  const words = (count: number, numberOf: (word: number, k: number) => number) =>
    Int32Array.from({ length: count / perWord }, (_, word) => {
      let bitsOfWord = 0;
      for (let k = 0; k < perWord; k++) bitsOfWord |= numberOf(word, k) << (bits * k);
      return bitsOfWord;
    });
  const order: readonly number[] = ORDER[method];
  const within = (k: number) => (bits === 4 ? order[k]! : k);
  const qweight =
    method === "awq"
      ? words(codes.length, (word, k) => codes[word * perWord + within(k)]!)
      : words(codes.length, (word, k) => {
          const row = Math.floor(word / outputs) * perWord + k;
          return codes[row * outputs + (word % outputs)]!;
        });
  const taken = method === "gptq" ? 1 : 0;
  const qzeros = words(zeros.length, (word, k) => zeros[word * perWord + within(k)]! - taken);
  const i32 = (key: string, shape: readonly number[], values: Int32Array): TensorToWrite => ({
    name: `${path}.${key}`,
    dtype: "I32",
    shape,
    data: new Uint8Array(values.buffer),
  });
  const size = method === "awq" ? [inputs, outputs / perWord] : [inputs / perWord, outputs];
  return [
    i32("qweight", size, qweight),
    i32("qzeros", [groups, outputs / perWord], qzeros),
    { name: `${path}.scales`, dtype: "F16", shape: [groups, outputs], data: scales },
    ...(method === "gptq" ? [i32("g_idx", [inputs], Int32Array.from(groupOf))] : []),
  ];
}
