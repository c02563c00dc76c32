// The architectures there are, found by config.json's `model_type`.

import { nearest, TunesmithError } from "../errors.ts";
import type { Tensor } from "../tensor/index.ts";
import type {
  Architecture,
  AuxiliaryLossOf,
  BlockPaths,
  Dimensions,
  LogitShape,
  Reach,
  RotaryTables,
  Scope,
  SparseFeedForward,
  WeightSpec,
} from "./architecture.ts";
import { type Classifier, classifying, readClassifier } from "./classifier.ts";
import { llama } from "./llama.ts";
import { mistral } from "./mistral.ts";
import { mixtral } from "./mixtral.ts";
import { qwen2 } from "./qwen2.ts";
import { qwen2Moe } from "./qwen2-moe.ts";
import { qwen3 } from "./qwen3.ts";

type Json = Readonly<Record<string, unknown>>;

/** What each makes of a config.json, by the values of `model_type` that it implements. */
const architectures: readonly (readonly [
  modelTypes: readonly string[],
  bindTo: (json: Json) => BoundArchitecture,
])[] = [bound(llama), bound(mistral), bound(mixtral), bound(qwen2), bound(qwen2Moe), bound(qwen3)];

/** An architecture together with the config it was read with. */
export interface BoundArchitecture {
  readonly dimensions: Dimensions;
  readonly weights: readonly WeightSpec[];
  /** Of each layer. */
  readonly blocks: readonly BlockPaths[];
  readonly embeddingName: string;
  readonly outputPath: string;
  readonly outputName: string;
  /** Rows of the output matrix: tokens, or labels. */
  readonly logitCount: number;
  /** Of a model that says something of whole texts; see `classifying`. */
  readonly classifier: (Classifier & { readonly padToken: number | undefined }) | undefined;
  /** See `Architecture`; what is absent there is so here. */
  readonly enter: ((x: Tensor, scope: Scope) => Tensor) | undefined;
  attention(layer: number, x: Tensor, scope: Scope): Tensor;
  readonly feedForward: ((layer: number, x: Tensor, scope: Scope) => Tensor) | undefined;
  sparse(layer: number): SparseFeedForward | undefined;
  readonly auxiliaryLoss: AuxiliaryLossOf | undefined;
  finalNorm(x: Tensor, scope: Scope): Tensor;
  readonly logitShape: LogitShape;
  rotaryTables(length: number, reach: Reach): RotaryTables;
  readonly rotatesNeighbours: boolean;
  readonly basePrefix: string;
  readonly ignoredTensors: RegExp | undefined;
}

function bound<Config>(architecture: Architecture<Config>) {
  return [architecture.modelTypes, (json: Json) => bind(architecture, json)] as const;
}

function bind<Config>(architecture: Architecture<Config>, json: Json): BoundArchitecture {
  const config = architecture.readConfig(json);
  const dimensions = architecture.dimensions(config);
  const { enter, feedForward, rotatesNeighbours = false, basePrefix = "model" } = architecture;
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
    auxiliaryLoss: architecture.auxiliaryLoss?.(config),
    finalNorm: (x, scope) => architecture.finalNorm(config, x, scope),
    logitShape: architecture.logitShape?.(config) ?? {},
    rotaryTables: (length, reach) => architecture.rotaryTables(config, length, reach),
    rotatesNeighbours,
    basePrefix,
    ignoredTensors: architecture.ignoredTensors,
  };
}

/** The values of `model_type` that are supported. */
export const supportedModelTypes: readonly string[] = architectures.flatMap(
  ([modelTypes]) => modelTypes,
);

/**
 * The architecture that a config.json asks for, and the head that its `architectures` names.
 * @throws TunesmithError (checkpoint) for an unknown `model_type`, naming the nearest known one
 */
export function architectureFor(json: Json, where = "config.json"): BoundArchitecture {
  const type = json.model_type;
  const [, bindTo] = architectures.find(([types]) => types.includes(String(type))) ?? [];
  if (bindTo) {
    const classifier = readClassifier(json, where);
    const padToken = typeof json.pad_token_id === "number" ? json.pad_token_id : undefined;
    return classifier ? classifying(bindTo(json), classifier, padToken) : bindTo(json);
  }
  const guess = nearest(String(type), supportedModelTypes);
  throw new TunesmithError("checkpoint", {
    where: `${where}: model_type`,
    rule: `must be a supported architecture (${supportedModelTypes.join(", ")})`,
    seen: JSON.stringify(type) ?? "no such key",
    fix: guess ? `if the model is a ${guess}, set "model_type": "${guess}"` : "use another model",
  });
}
