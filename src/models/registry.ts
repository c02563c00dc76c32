// The architectures there are, found by config.json's `model_type`.

import { nearest, TunesmithError } from "../errors.ts";
import type {
  Architecture,
  AuxiliaryLossOf,
  BlockStack,
  Dimensions,
  ImageEncoder,
  LogitShape,
  Reach,
  RotaryTables,
  UsualTargets,
} from "./architecture.ts";
import { chatglm } from "./chatglm.ts";
import { type Classifier, classifying, readClassifier } from "./classifier.ts";
import { falcon } from "./falcon.ts";
import { gemma } from "./gemma.ts";
import { gemma2 } from "./gemma2.ts";
import { gemma3 } from "./gemma3.ts";
import { glm, glm4 } from "./glm.ts";
import { glm130b } from "./glm-130b.ts";
import { gptNeox } from "./gpt-neox.ts";
import { gpt2 } from "./gpt2.ts";
import { idefics3 } from "./idefics3.ts";
import { llama } from "./llama.ts";
import { mistral } from "./mistral.ts";
import { mixtral } from "./mixtral.ts";
import { olmo2 } from "./olmo2.ts";
import { phi } from "./phi.ts";
import { phi3 } from "./phi3.ts";
import { qwen2 } from "./qwen2.ts";
import { qwen2Moe } from "./qwen2-moe.ts";
import { qwen3 } from "./qwen3.ts";
import { qwen3Moe } from "./qwen3-moe.ts";

type Json = Readonly<Record<string, unknown>>;

interface Registered {
  readonly modelTypes: readonly string[];
  readonly covers: string;
  readonly bindTo: (json: Json) => BoundArchitecture;
}

const architectures: readonly Registered[] = [
  bound(chatglm),
  bound(falcon),
  bound(gemma),
  bound(gemma2),
  bound(gemma3),
  bound(glm),
  bound(glm4),
  bound(glm130b),
  bound(gpt2),
  bound(gptNeox),
  bound(idefics3),
  bound(llama),
  bound(mistral),
  bound(mixtral),
  bound(olmo2),
  bound(phi),
  bound(phi3),
  bound(qwen2),
  bound(qwen2Moe),
  bound(qwen3),
  bound(qwen3Moe),
];

/** The names that LLaMA and its kin have. */
const USUAL_TARGETS: UsualTargets = {
  attention: ["q_proj", "v_proj"],
  scaledOutputs: ["k_proj", "v_proj"],
  scaledInputs: ["down_proj"],
};

/** An architecture together with the config it was read with. */
export interface BoundArchitecture extends BlockStack {
  readonly dimensions: Dimensions;
  readonly embeddingName: string;
  readonly outputPath: string;
  readonly outputName: string;
  /** Rows of the output matrix: tokens, or labels. */
  readonly logitCount: number;
  /** Of a model that says something of whole texts; see `classifying`. */
  readonly classifier: (Classifier & { readonly padToken: number | undefined }) | undefined;
  /** See `Architecture`; what is absent there is so here. */
  readonly images: ImageEncoder | undefined;
  readonly auxiliaryLoss: AuxiliaryLossOf | undefined;
  readonly logitShape: LogitShape;
  rotaryTables(length: number, reach: Reach): RotaryTables;
  readonly usualTargets: UsualTargets;
  readonly basePrefix: string;
  readonly ignoredTensors: RegExp | undefined;
}

function bound<Config>(architecture: Architecture<Config>): Registered {
  const { modelTypes, covers } = architecture;
  return { modelTypes, covers, bindTo: (json: Json) => bind(architecture, json) };
}

function bind<Config>(architecture: Architecture<Config>, json: Json): BoundArchitecture {
  const config = architecture.readConfig(json);
  const dimensions = architecture.dimensions(config);
  const { enter, rotatesNeighbours = false, basePrefix = "model" } = architecture;
  const feedForward = architecture.isParallel?.(config) ? undefined : architecture.feedForward;
  return {
    dimensions,
    blocks: Array.from({ length: dimensions.layers }, (_, layer) =>
      architecture.blockPaths(config, layer),
    ),
    weights: architecture.weights(config),
    embeddingName: architecture.embeddingName,
    outputPath: architecture.outputPath,
    outputName: architecture.outputName(config),
    logitCount: dimensions.vocabularySize,
    classifier: undefined,
    attention: (layer, x, scope) => architecture.attention(config, layer, x, scope),
    enter: enter && ((x, scope) => enter(config, x, scope)),
    feedForward: feedForward && ((layer, x, scope) => feedForward(config, layer, x, scope)),
    sparse: (layer) => architecture.sparse?.(config, layer),
    images: architecture.images?.(config),
    auxiliaryLoss: architecture.auxiliaryLoss?.(config),
    finalNorm: (x, scope) => architecture.finalNorm(config, x, scope),
    logitShape: architecture.logitShape?.(config) ?? {},
    rotaryTables: (length, reach) => architecture.rotaryTables(config, length, reach),
    usualTargets: { ...USUAL_TARGETS, ...architecture.usualTargets },
    rotatesNeighbours,
    basePrefix,
    ignoredTensors: architecture.ignoredTensors,
  };
}

/** Models that also look at images, and what their text models are called. */
const TEXT_MODELS: Readonly<Record<string, string>> = { gemma3: "gemma3_text" };

/** The values of `model_type` that are supported. */
export const supportedModelTypes: readonly string[] = architectures.flatMap(
  ({ modelTypes }) => modelTypes,
);

/** What uses each of them, for people. */
export const coveredModels: ReadonlyMap<string, string> = new Map(
  architectures.flatMap(({ modelTypes, covers }) =>
    modelTypes.map((modelType) => [modelType, covers] as const),
  ),
);

/**
 * The architecture that a config.json asks for, and the head that its `architectures` names.
 * @throws TunesmithError (checkpoint) for an unknown `model_type`, naming the nearest known one
 */
export function architectureFor(json: Json, where = "config.json"): BoundArchitecture {
  const type = json.model_type;
  const found = architectures.find(({ modelTypes }) => modelTypes.includes(String(type)));
  if (found) {
    const classifier = readClassifier(json, where);
    const padToken = typeof json.pad_token_id === "number" ? json.pad_token_id : undefined;
    return classifier ? classifying(found.bindTo(json), classifier, padToken) : found.bindTo(json);
  }
  throw new TunesmithError("checkpoint", {
    where: `${where}: model_type`,
    rule: `must be a supported architecture (${supportedModelTypes.join(", ")})`,
    seen: JSON.stringify(type) ?? "no such key",
    fix: otherType(String(type)),
  });
}

function otherType(type: string): string {
  if (Object.hasOwn(TEXT_MODELS, type))
    return `use a checkpoint of its text model alone, a ${TEXT_MODELS[type]}`;
  const guess = nearest(type, supportedModelTypes);
  return guess ? `if the model is a ${guess}, set "model_type": "${guess}"` : "use another model";
}
