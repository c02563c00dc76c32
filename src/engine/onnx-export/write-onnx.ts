// A model as a folder that transformers.js loads: a graph for every type asked for, its weights in files
// beside it, and configuration and tokenizer as in any model folder.

import { join } from "node:path";
import {
  encodeHalf,
  type Int8Tensor,
  makeFolder,
  quantize,
  writeFileAtomically,
} from "../../hub/index.ts";
import type { BoundArchitecture, WeightSpec } from "../../models/index.ts";
import {
  type BytePart,
  encodeModel,
  type OnnxConstant,
  withByteWeights,
  withHalfProducts,
} from "../../onnx/index.ts";
import type { Value } from "../../runtime/kernel.ts";
import { rotaryValues } from "../inputs.ts";
import { checkMergeable, isUntied, mergedWeight, type Trained } from "../save.ts";
import { type BlockOperands, blockOperands, toBlocks } from "../weights/block-weights.ts";
import { blockBits } from "../weights/model-dtype.ts";
import { checkContinuesTexts } from "./continues-texts.ts";
import { decoderGraph, type Held } from "./decoder-graph.ts";
import { placed, writePlaced } from "./external-data.ts";
import { writeBesideGraphs } from "./transformers-js.ts";

interface OnnxType {
  /** What transformers.js calls it, and the end of its file's name there. */
  readonly name: string;
  readonly suffix: string;
  /** Matrices in blocks, as a model has them that is opened in this dtype. */
  readonly blocks?: "q4";
  /** Matrices in whole numbers of 8 bits, a scale a row. */
  readonly rows?: true;
  /** Products with weights in 16 bits, and weights in files so. */
  readonly half?: true;
}

/** The types of an ONNX folder. */
export const ONNX_DTYPES = {
  f32: { name: "fp32", suffix: "" },
  f16: { name: "fp16", suffix: "_fp16", half: true },
  q8: { name: "q8", suffix: "_quantized", rows: true },
  q4: { name: "q4", suffix: "_q4", blocks: "q4" },
  q4f16: { name: "q4f16", suffix: "_q4f16", blocks: "q4", half: true },
} as const satisfies Record<string, OnnxType>;
export type OnnxDtype = keyof typeof ONNX_DTYPES;

/** How an ONNX folder is written. */
export interface OnnxFolderOptions {
  /** The largest file of weights, in bytes, unless a tensor is larger. */
  readonly maxShardBytes?: number | undefined;
  readonly signal?: AbortSignal | undefined;
}

/** A merged model's weights, and the architecture that reads them. */
interface Merged {
  readonly architecture: BoundArchitecture;
  data(name: string): Float32Array;
}

/**
 * Writes `directory` with `onnx/model….onnx` for each type and everything beside it.
 * @param how.signal ends the writing with its reason, where the next weight is asked for
 * @throws TunesmithError (config) for what the graph has no form for, and what cannot be part of the weights
 */
export async function saveMergedOnnx(
  trained: Trained,
  directory: string,
  dtypes: readonly OnnxDtype[],
  { maxShardBytes, signal }: OnnxFolderOptions = {},
): Promise<void> {
  const { checkpoint, method, architecture } = trained;
  checkContinuesTexts(architecture);
  if (method) checkMergeable(method, trained.weights);
  const merged = mergedParts(trained, signal);
  await makeFolder(join(directory, "onnx"));
  const dataFiles: Record<string, number> = {};
  for (const dtype of dtypes) {
    const type: OnnxType = ONNX_DTYPES[dtype];
    const file = `model${type.suffix}.onnx`;
    const place = { folder: join(directory, "onnx"), file, maxShardBytes };
    dataFiles[file] = await writeGraph(merged, place, type);
  }
  const { name } = ONNX_DTYPES[dtypes[0]!];
  await writeBesideGraphs(directory, checkpoint, architecture, { dtype: name, dataFiles });
}

/** A head that is tied no more is a weight of its own. */
function mergedParts(trained: Trained, signal: AbortSignal | undefined): Merged {
  const { architecture } = trained;
  const { outputName, outputPath, weights } = architecture;
  const data = (name: string) => {
    signal?.throwIfAborted();
    return mergedWeight(trained, name);
  };
  const outputUse = `${outputPath}.weight`;
  if (outputUse === outputName || !isUntied(trained)) return { architecture, data };
  const { shape } = weights.find(({ name }) => name === outputName)!;
  const output = { name: outputUse, shape, role: "output" } as const;
  return {
    architecture: { ...architecture, outputName: outputUse, weights: [...weights, output] },
    data,
  };
}

interface GraphPlace {
  readonly folder: string;
  readonly file: string;
  readonly maxShardBytes: number | undefined;
}

/** @returns how many files of weights there are */
async function writeGraph(
  { architecture, data }: Merged,
  { folder, file, maxShardBytes }: GraphPlace,
  type: OnnxType,
): Promise<number> {
  const { maximumPositions, rotarySwitch = maximumPositions } = architecture.dimensions;
  const positions = Math.min(maximumPositions, rotarySwitch);
  const specs = new Map(architecture.weights.map((spec) => [spec.name, spec]));
  const inBlocks = new Map<string, BlockOperands>();
  const blocks = (name: string): BlockOperands | undefined => {
    const spec = specs.get(name);
    const bits = spec && type.blocks && blockBits(type.blocks, spec);
    if (!bits) return undefined;
    const operands = inBlocks.get(name) ?? blockOperands(toBlocks(data(name), spec.shape, bits));
    inBlocks.set(name, operands);
    return operands;
  };
  const { graph, held } = decoderGraph(architecture, positions, { blocks });
  const used = new Set(graph.nodes.flatMap(({ inputs }) => inputs));
  const value = (each: Held): Value | Float32Array => {
    if (each.kind === "weight") return data(each.name);
    if (each.kind === "blocks") return blocks(each.name)!.parts[each.part]!;
    return rotaryValues(architecture, positions, positions, each.reach)[each.table];
  };

  const shapes = new Map(graph.constants.map((constant) => [constant.name, constant]));
  const constants: OnnxConstant[] = graph.constants.filter(
    ({ name }) => used.has(name) && !held.has(name),
  );
  for (const [name, each] of held) {
    if (!used.has(name)) continue;
    const known = shapes.get(name);
    constants.push(known ?? { name, ...described(architecture, each, blocks) });
  }
  const whole = { ...graph, constants };
  const isWeight = (name: string) => held.has(name);
  const halved = type.half ? withHalfProducts(whole, isWeight) : whole;
  const { graph: final, parts } = withByteWeights(halved, (name) => {
    const spec = specs.get(name);
    return type.rows === true && spec !== undefined && IN_BYTES.has(spec.role);
  });
  const inside = final.constants.filter(({ bytes }) => bytes);
  const outside = placed(
    final.constants.filter(({ bytes }) => !bytes),
    file,
    maxShardBytes,
  );
  const rounded = inBytes((name) => [data(name), specs.get(name)!.shape]);
  const count = await writePlaced(folder, outside, ({ name, type: element }) => {
    const part = parts.get(name);
    if (part) return rounded(part);
    const found = value(held.get(name)!);
    const array = found instanceof Float32Array ? found : (found.data as Float32Array | Uint8Array);
    return bytesOf(array, element);
  });
  const encoded = encodeModel({ ...final, constants: [...inside, ...outside] });
  await writeFileAtomically(join(folder, file), encoded);
  return count;
}

/** What is rounded to bytes: norms, biases and routers stay as they are. */
const IN_BYTES: ReadonlySet<WeightSpec["role"]> = new Set(["linear", "embedding", "output"]);

/** Bytes of the parts of rounded weights; the last weight is kept, as its parts are asked for in turn. */
function inBytes(
  weightOf: (name: string) => readonly [Float32Array, readonly number[]],
): (part: BytePart) => Uint8Array {
  let last: { readonly weight: string; readonly tensor: Int8Tensor } | undefined;
  return ({ weight, part }) => {
    if (last?.weight !== weight)
      last = { weight, tensor: quantize(...weightOf(weight), { type: "int8" }) as Int8Tensor };
    const { values, scales } = last.tensor;
    if (part === "codes") return viewOf(values);
    return viewOf(scales.map((largest) => largest / 127));
  };
}

/** The type and shape of what only the embedding reads. */
function described(
  { weights }: BoundArchitecture,
  held: Held,
  blocks: (name: string) => BlockOperands | undefined,
): Pick<OnnxConstant, "type" | "shape"> {
  if (held.kind === "blocks") {
    const { dims } = blocks(held.name)!.parts[held.part]!;
    return { type: held.part === "codes" ? "uint8" : "float32", shape: dims };
  }
  if (held.kind !== "weight") throw new Error("rotary tables are read by layers");
  return { type: "float32", shape: weights.find(({ name }) => name === held.name)!.shape };
}

const viewOf = ({ buffer, byteOffset, byteLength }: ArrayBufferView): Uint8Array =>
  new Uint8Array(buffer, byteOffset, byteLength);

function bytesOf(data: Float32Array | Uint8Array, type: OnnxConstant["type"]): Uint8Array {
  if (type !== "float16" || data instanceof Uint8Array) return viewOf(data);
  const halves = new Uint16Array(data.length);
  encodeHalf(data, "F16", halves);
  return viewOf(halves);
}
