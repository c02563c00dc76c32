// A model as a folder that transformers.js loads: a graph for every type asked for, its weights in files
// beside it, and configuration and tokenizer as in any model folder.

import { join } from "node:path";
import { TunesmithError } from "../../errors.ts";
import { encodeHalf, type JsonObject, makeFolder, writeFileAtomically } from "../../hub/index.ts";
import type { BoundArchitecture } from "../../models/index.ts";
import { encodeModel, type OnnxConstant, withHalfProducts } from "../../onnx/index.ts";
import type { Value } from "../../runtime/kernel.ts";
import { rotaryValues } from "../inputs.ts";
import { checkMergeable, isUntied, mergedWeight, type Trained } from "../save.ts";
import { type BlockOperands, blockOperands, toBlocks } from "../weights/block-weights.ts";
import { blockBits } from "../weights/model-dtype.ts";
import { decoderGraph, type Held } from "./decoder-graph.ts";
import { placed, writePlaced } from "./external-data.ts";

interface OnnxType {
  /** What transformers.js calls it, and the end of its file's name there. */
  readonly name: string;
  readonly suffix: string;
  /** Matrices in blocks, as a model has them that is opened in this dtype. */
  readonly blocks?: "q4" | "q8";
  /** Products with weights in 16 bits, and weights in files so. */
  readonly half?: true;
}

/** The types of an ONNX folder. */
export const ONNX_DTYPES = {
  f32: { name: "fp32", suffix: "" },
  f16: { name: "fp16", suffix: "_fp16", half: true },
  q8: { name: "q8", suffix: "_quantized", blocks: "q8" },
  q4: { name: "q4", suffix: "_q4", blocks: "q4" },
  q4f16: { name: "q4f16", suffix: "_q4f16", blocks: "q4", half: true },
} as const satisfies Record<string, OnnxType>;
export type OnnxDtype = keyof typeof ONNX_DTYPES;

/** A merged model's weights, and the architecture that reads them. */
interface Merged {
  readonly architecture: BoundArchitecture;
  data(name: string): Float32Array;
}

/**
 * Writes `directory` with `onnx/model….onnx` for each type and everything beside it.
 * @param signal ends the writing with its reason, where the next weight is asked for
 * @throws TunesmithError (config) for a classifier, and for what cannot be part of the weights
 */
export async function saveMergedOnnx(
  trained: Trained,
  directory: string,
  dtypes: readonly OnnxDtype[],
  signal?: AbortSignal,
): Promise<void> {
  const { checkpoint, method } = trained;
  if (trained.architecture.classifier) throw saysNoTokens();
  if (method) checkMergeable(method, trained.weights);
  const merged = mergedParts(trained, signal);
  await makeFolder(join(directory, "onnx"));
  const chunks: Record<string, number> = {};
  for (const dtype of dtypes) {
    const type: OnnxType = ONNX_DTYPES[dtype];
    const file = `model${type.suffix}.onnx`;
    chunks[file] = await writeGraph(merged, join(directory, "onnx"), file, type);
  }
  const { quantization_config: _, ...config } = checkpoint.config;
  const named: JsonObject = {
    ...config,
    "transformers.js_config": {
      dtype: ONNX_DTYPES[dtypes[0]!].name,
      use_external_data_format: chunks,
    },
  };
  await checkpoint.writeSideFiles(directory);
  await writeFileAtomically(
    join(directory, "config.json"),
    `${JSON.stringify(named, undefined, 2)}\n`,
  );
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

async function writeGraph(
  { architecture, data }: Merged,
  folder: string,
  file: string,
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
  const isWeight = (name: string) => held.has(name);
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
  const final = type.half ? withHalfProducts(whole, isWeight) : whole;
  const inside = final.constants.filter(({ name }) => !held.has(name));
  const outside = placed(
    final.constants.filter(({ name }) => held.has(name)),
    file,
  );
  const count = await writePlaced(folder, outside, ({ name, type: element }) => {
    const found = value(held.get(name)!);
    const array = found instanceof Float32Array ? found : (found.data as Float32Array | Uint8Array);
    return bytesOf(array, element);
  });
  const encoded = encodeModel({ ...final, constants: [...inside, ...outside] });
  await writeFileAtomically(join(folder, file), encoded);
  return count;
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

function bytesOf(data: Float32Array | Uint8Array, type: OnnxConstant["type"]): Uint8Array {
  if (type !== "float16" || data instanceof Uint8Array)
    return new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
  const halves = new Uint16Array(data.length);
  encodeHalf(data, "F16", halves);
  return new Uint8Array(halves.buffer);
}

const saysNoTokens = () =>
  new TunesmithError("config", {
    where: "exporting: format onnx",
    rule: "the graph continues texts",
    seen: "a classifier",
    fix: "merge it into a model folder and export that with Optimum, or use `tunesmith classify`",
  });
