// What models there are and what one is, read from headers alone: architectures and formats that are
// supported, and a model's sizes, memory and chat template.

import { ONNX_DTYPES } from "../engine/onnx-export/write-onnx.ts";
import { FLOATING_TYPES } from "../engine/save.ts";
import { checkpointView } from "../engine/weights/checkpoint-view.ts";
import { MODEL_DTYPES } from "../engine/weights/model-dtype.ts";
import { checkTensors } from "../engine/weights/weights.ts";
import { TunesmithError } from "../errors.ts";
import {
  type Checkpoint,
  FLOAT_DTYPES,
  GGUF_DTYPES,
  GGUF_MODEL_TYPES,
  GGUF_TYPE_NAMES,
  KEPT_TYPES,
  NO_IMAGES,
  openCheckpoint,
  QUANTIZATION_TYPES,
  renderChat,
  type Tokenizer,
} from "../hub/index.ts";
import {
  bindMethod,
  countParameters,
  type MethodOptions,
  modelDescription,
} from "../methods/index.ts";
import {
  architectureFor,
  type BoundArchitecture,
  coveredModels,
  type Dimensions,
  type ImageEncoder,
  type WeightSpec,
} from "../models/index.ts";
import { sizeOf } from "../tensor/index.ts";
import type { Attention } from "./attention.ts";
import { estimate, estimateGeneration, weightsOfTexts } from "./estimate.ts";
import { fetchModel } from "./prepare.ts";
import { storedWeights } from "./stored-weights.ts";
import { type Keeping, type WeightBytes, weightBytes } from "./weight-bytes.ts";

export interface SupportedModels {
  readonly architectures: readonly {
    readonly modelType: string;
    /** The models that use it. */
    readonly covers: string;
    readonly gguf: "read and written" | "read" | "";
  }[];
  /** What is read, written, and kept in memory, by format. */
  readonly formats: readonly { readonly what: string; readonly types: readonly string[] }[];
}

/** The architectures and formats that the code has. */
export function supportedModels(): SupportedModels {
  const architectures = [...coveredModels].map(([modelType, covers]) => ({
    modelType,
    covers,
    gguf: GGUF_MODEL_TYPES.written.includes(modelType)
      ? ("read and written" as const)
      : GGUF_MODEL_TYPES.read.includes(modelType)
        ? ("read" as const)
        : ("" as const),
  }));
  return {
    architectures,
    formats: [
      { what: "safetensors, read", types: FLOAT_DTYPES },
      { what: "safetensors, written", types: Object.values(FLOATING_TYPES) },
      { what: "safetensors quantised by bitsandbytes, read", types: QUANTIZATION_TYPES },
      { what: "safetensors of GPTQ, read", types: GPTQ_BITS },
      { what: "safetensors of AWQ, read", types: ["4 bits"] },
      { what: "GGUF, read", types: GGUF_TYPE_NAMES },
      { what: "GGUF, written (tunesmith export)", types: Object.keys(GGUF_DTYPES) },
      { what: "ONNX, written (tunesmith export)", types: Object.keys(ONNX_DTYPES) },
      { what: "in memory (dtype)", types: MODEL_DTYPES },
      { what: "in memory under training (quantization)", types: KEPT_TYPES },
    ],
  };
}

export interface ModelFacts {
  readonly source: string;
  readonly format: Checkpoint["format"];
  readonly modelType: string;
  readonly covers: string;
  /** What it is made of, in words. */
  readonly sizes: readonly Words[];
  /** `config.json`; for a GGUF, what that file would say. */
  readonly config: Readonly<Record<string, unknown>>;
  readonly parameters: {
    readonly total: number;
    /** What a token goes through, where experts are chosen. */
    readonly active: number;
    /** Of what makes rows of images, where there is such. */
    readonly images?: number;
    readonly embedding: number;
    readonly output: number;
    /** One block, by module; that of the first layer, and of the last where it differs. */
    readonly blocks: readonly { readonly layer: number; readonly modules: readonly Count[] }[];
  };
  /** Bytes of the weights, by how they are kept. */
  readonly weightBytes: readonly Count[];
  /** Bytes at the peak of one answer, or of one usual step, by what is done. */
  readonly memoryBytes: readonly Count[];
  readonly step: { readonly rows: number; readonly tokens: number };
  readonly specialTokens: Readonly<Record<string, string>>;
  /** A conversation in the model's chat template, or why there is none. */
  readonly chat: string | { readonly missing: string };
}

export interface Count {
  readonly name: string;
  readonly count: number;
}

interface Words {
  readonly name: string;
  readonly text: string;
}

const GPTQ_BITS = ["4 bits", "2, 3 and 8 (widened)"];

const SAMPLE_CHAT = [
  { role: "system", content: "Be brief." },
  { role: "user", content: "Hello!" },
  { role: "assistant", content: "Good day." },
] as const;
/** A step of usual size, where the model's context allows it. */
const STEP = { rows: 4, tokens: 512 } as const;

/**
 * Describes a model without reading its weights.
 * @param reference folder, GGUF file or hub id
 * @throws TunesmithError (checkpoint) for what opening it would refuse: files that are damaged or of an
 *   unknown architecture, tensors that are missing, misshapen or have no place
 */
export async function describeModel(
  reference: string,
  attention: Attention = {},
): Promise<ModelFacts> {
  const opened = await openCheckpoint(await fetchModel(reference, attention));
  try {
    const { config, source } = opened;
    const architecture = architectureFor(config, `${source}/config.json`);
    const checkpoint = checkpointView(opened, architecture);
    checkTensors(checkpoint, architecture.weights);
    const modelType = String(config.model_type);
    return {
      source,
      format: checkpoint.format,
      modelType,
      covers: coveredModels.get(modelType)!,
      sizes: [...sizesOf(architecture), ...formsOf(checkpoint)],
      config,
      parameters: parametersOf(architecture),
      weightBytes: WAYS.map(({ name, keeping }) => ({
        name,
        count: weightBytes(architecture, checkpoint, keeping(checkpoint)).held,
      })),
      ...memoryOf(architecture, modelType, checkpoint),
      ...(await textOf(checkpoint, architecture)),
    };
  } finally {
    await opened.close();
  }
}

function sizesOf({
  dimensions,
  images,
}: {
  readonly dimensions: Dimensions;
  readonly images: ImageEncoder | undefined;
}): Words[] {
  const { layers, hiddenSize, heads, keyValueHeads, headSize } = dimensions;
  const { maximumPositions, slidingWindow, vocabularySize, rotarySize = headSize } = dimensions;
  const shared = keyValueHeads < heads ? `, ${keyValueHeads} for keys and values` : "";
  const rotated = rotarySize === headSize ? "all" : `${rotarySize} of ${headSize}`;
  const rows: [name: string, text: string][] = [
    ["layers", `${layers}, ${hiddenSize} wide`],
    ["heads", `${heads} of ${headSize}${shared}`],
    ["context", `${maximumPositions} tokens`],
    ...(slidingWindow === undefined
      ? []
      : [["window", `${slidingWindow} tokens where attention is local`] as [string, string]]),
    ["rotary embedding", rotarySize === 0 ? "none" : `on ${rotated} elements of a head`],
    ["vocabulary", `${vocabularySize} tokens`],
    ...(images ? [["images", imageSizes(images)] as [string, string]] : []),
  ];
  return rows.map(([name, text]) => ({ name, text }));
}

function formsOf(checkpoint: Checkpoint): Words[] {
  const { kept, widened } = storedWeights(checkpoint);
  return [
    ...kept.map((text) => ({ name: "quantised", text })),
    ...widened.map((text) => ({ name: "widened to 16 bits or more", text })),
  ];
}

const imageSizes = ({ stack: { dimensions }, token }: ImageEncoder) =>
  `an encoder of ${dimensions.layers} layers, ${dimensions.hiddenSize} wide, in place of token ${token}`;

function parametersOf({ weights, blocks, dimensions, outputName, images }: BoundArchitecture) {
  const count = (specs: readonly WeightSpec[], ofToken = false) =>
    specs.reduce((sum, { shape, share = 1 }) => sum + sizeOf(shape) * (ofToken ? share : 1), 0);
  const modulesOf = (layer: number): Count[] => {
    const prefix = `${blocks[layer]!.block}.`;
    const sums = new Map<string, number>();
    for (const { name, shape } of weights) {
      if (!name.startsWith(prefix)) continue;
      const [module = "", part = ""] = name.slice(prefix.length).split(".");
      // Experts are one line, not one each.
      const key = part === "experts" ? `${module}.experts` : module;
      sums.set(key, (sums.get(key) ?? 0) + sizeOf(shape));
    }
    return [...sums].map(([name, size]) => ({ name, count: size }));
  };
  const first = modulesOf(0);
  const last = modulesOf(dimensions.layers - 1);
  const isAlike = JSON.stringify(first) === JSON.stringify(last);
  return {
    total: count(weights),
    active: Math.round(count(weights, true)),
    ...(images && { images: count(images.stack.weights) }),
    embedding: count(weights.filter(({ role }) => role === "embedding" || role === "positions")),
    output: count(weights.filter(({ name, role }) => role === "output" && name === outputName)),
    blocks: [
      { layer: 0, modules: first },
      ...(isAlike ? [] : [{ layer: dimensions.layers - 1, modules: last }]),
    ],
  };
}

const NF4 = { type: "nf4", doubleQuantization: true, blockSize: 64 } as const;

/** How weights may be kept; those of a quantised checkpoint stay as they are where training quantises. */
const WAYS: readonly { name: string; keeping: (checkpoint: Checkpoint) => Keeping }[] = [
  ...(["auto", "float32", "q8", "q4"] as const).map((dtype) => ({
    name: dtype,
    keeping: () => ({ dtype }),
  })),
  {
    name: "nf4",
    keeping: ({ tensors }) => ({
      dtype: "auto",
      quantization: [...tensors.values()].some(({ quantization }) => quantization)
        ? undefined
        : NF4,
    }),
  },
];

/** What is shown, in the words of a recipe, with the dtype that its frozen weights have. */
const METHODS: readonly (readonly [name: string, MethodOptions, weights: string])[] = [
  ["LoRA, rank 8", { name: "lora", rank: 8 }, "auto"],
  ["QLoRA, rank 8", { name: "qlora", rank: 8, targets: "all-linear" }, "nf4"],
  ["full fine-tuning", { name: "full" }, "none"],
];

const NONE: WeightBytes = { held: 0, reordered: 0, widened: 0 };

const GENERATED = ["auto", "float32", "q8", "q4"] as const;

function memoryOf(architecture: BoundArchitecture, modelType: string, checkpoint: Checkpoint) {
  const { dimensions, logitCount } = architecture;
  const weights = weightsOfTexts(architecture);
  const step = { rows: STEP.rows, tokens: Math.min(STEP.tokens, dimensions.maximumPositions) };
  const bytes = new Map(
    WAYS.map(({ name, keeping }) => [
      name,
      weightBytes(architecture, checkpoint, keeping(checkpoint)),
    ]),
  );
  const description = modelDescription(architecture, modelType, checkpoint.source);
  const memoryBytes = METHODS.flatMap(([name, options, dtype]) =>
    (["fast", "lean"] as const).map((memory) => {
      const { trained, untrained } = countParameters(bindMethod(options, description));
      const positions = step.rows * step.tokens;
      const { memoryBytes: count } = estimate({
        dimensions,
        weights,
        logitCount,
        weightBytes: bytes.get(dtype) ?? NONE,
        trainable: trained,
        optimizerSlots: 2,
        untrained,
        rows: step.rows,
        rowTokens: step.tokens,
        memory,
        stepTokens: positions,
        stepTargets: positions,
        steps: 1,
      });
      return { name: memory === "fast" ? name : `${name}, lean`, count };
    }),
  );
  // As the file has it, where that is what products are made for; otherwise it is one of the others.
  const isInt4 = [...checkpoint.tensors.values()].some(
    ({ quantization }) => quantization === "int4",
  );
  const answers = GENERATED.filter((dtype) => dtype !== "auto" || isInt4).map((dtype) => ({
    name: `generation, ${dtype}`,
    count: estimateGeneration({
      dimensions,
      weights,
      logitCount,
      weightBytes: weightBytes(architecture, checkpoint, { dtype, isRun: true }),
      tokens: step.tokens,
    }).reduce((sum, term) => sum + term.bytes, 0),
  }));
  return { memoryBytes: [...answers, ...memoryBytes], step };
}

/** A folder of weights alone can be looked at too: what is amiss with the rest is told in its place. */
async function textOf(
  checkpoint: Checkpoint,
  { images }: BoundArchitecture,
): Promise<Pick<ModelFacts, "specialTokens" | "chat">> {
  try {
    const tokenizer = await checkpoint.loadTokenizer();
    return {
      specialTokens: specialTokensOf(tokenizer),
      chat: sampleChat(tokenizer, images !== undefined),
    };
  } catch (error) {
    return { specialTokens: {}, chat: whyMissing(error) };
  }
}

function specialTokensOf(tokenizer: Tokenizer): Record<string, string> {
  const ids = { bos: tokenizer.bosTokenId, eos: tokenizer.eosTokenId, pad: tokenizer.padTokenId };
  return Object.fromEntries(
    Object.entries(ids).flatMap(([name, id]) =>
      id === undefined ? [] : [[name, `${tokenizer.idToToken(id) ?? "?"} (${id})`]],
    ),
  );
}

/** Templates that refuse a system message are asked without one. */
function sampleChat(tokenizer: Tokenizer, looksAtImages: boolean): ModelFacts["chat"] {
  if (tokenizer.chatTemplate === undefined)
    return { missing: "none: prompts are continued as they are" };
  let refused: unknown;
  for (const messages of [SAMPLE_CHAT, SAMPLE_CHAT.slice(1)])
    try {
      return renderChat(tokenizer, messages, looksAtImages ? { images: NO_IMAGES } : {});
    } catch (error) {
      refused ??= error;
    }
  return whyMissing(refused);
}

/** @throws what is no fault of the model's files */
function whyMissing(error: unknown): { missing: string } {
  if (!(error instanceof TunesmithError)) throw error;
  return { missing: error.faults.map(({ rule, seen }) => `none: ${rule}; saw ${seen}`).join("\n") };
}
