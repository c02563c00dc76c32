// What a model is, read from headers alone: its sizes, its memory, how it writes texts.

import { headKind, isNarrowInFile } from "../engine/head/head-kind.ts";
import { checkpointView } from "../engine/weights/checkpoint-view.ts";
import { checkTensors } from "../engine/weights/weights.ts";
import { type Checkpoint, openCheckpoint } from "../hub/index.ts";
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
import { type TextFacts, textFacts } from "./sample-chat.ts";
import { storedWeights } from "./stored-weights.ts";
import { type Keeping, NF4, type WeightBytes, weightBytes } from "./weight-bytes.ts";

export interface ModelFacts extends TextFacts {
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
}

export interface Count {
  readonly name: string;
  readonly count: number;
}

interface Words {
  readonly name: string;
  readonly text: string;
}

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
      ...(await textFacts(checkpoint, architecture.images !== undefined)),
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
      const method = bindMethod(options, description);
      const { trained, untrained } = countParameters(method);
      const positions = step.rows * step.tokens;
      const { memoryBytes: count } = estimate({
        dimensions,
        weights,
        logitCount,
        head: headKind(method, architecture, isNarrowInFile(checkpoint)),
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
