// The architectures there are, found by config.json's `model_type`.

import { nearest, TunesmithError } from "../errors.ts";
import type { Tensor } from "../tensor/index.ts";
import type {
  Architecture,
  BlockPaths,
  Dimensions,
  RotaryTables,
  Scope,
  WeightSpec,
} from "./architecture.ts";
import { llama } from "./llama.ts";

const architectures = [llama] as const;

/** An architecture together with the config it was read with. */
export interface BoundArchitecture {
  readonly dimensions: Dimensions;
  readonly weights: readonly WeightSpec[];
  /** Of each layer. */
  readonly blocks: readonly BlockPaths[];
  readonly embeddingName: string;
  readonly outputPath: string;
  readonly outputName: string;
  attention(layer: number, x: Tensor, scope: Scope): Tensor;
  feedForward(layer: number, x: Tensor, scope: Scope): Tensor;
  finalNorm(x: Tensor, scope: Scope): Tensor;
  rotaryTables(length: number): RotaryTables;
}

function bind<Config>(
  architecture: Architecture<Config>,
  json: Readonly<Record<string, unknown>>,
): BoundArchitecture {
  const config = architecture.readConfig(json);
  const dimensions = architecture.dimensions(config);
  return {
    dimensions,
    blocks: Array.from({ length: dimensions.layers }, (_, layer) => architecture.blockPaths(layer)),
    weights: architecture.weights(config),
    embeddingName: architecture.embeddingName,
    outputPath: architecture.outputPath,
    outputName: architecture.outputName(config),
    attention: (layer, x, scope) => architecture.attention(config, layer, x, scope),
    feedForward: (layer, x, scope) => architecture.feedForward(config, layer, x, scope),
    finalNorm: (x, scope) => architecture.finalNorm(config, x, scope),
    rotaryTables: (length) => architecture.rotaryTables(config, length),
  };
}

/** The values of `model_type` that are supported. */
export const supportedModelTypes: readonly string[] = architectures.flatMap(
  (architecture) => architecture.modelTypes,
);

/**
 * The architecture that a config.json asks for.
 * @throws TunesmithError (checkpoint) for an unknown `model_type`, naming the nearest known one
 */
export function architectureFor(
  json: Readonly<Record<string, unknown>>,
  where = "config.json",
): BoundArchitecture {
  const type = json.model_type;
  const found = architectures.find((entry) => entry.modelTypes.includes(String(type)));
  if (found) return bind(found, json);
  const guess = nearest(String(type), supportedModelTypes);
  throw new TunesmithError("checkpoint", {
    where: `${where}: model_type`,
    rule: `must be a supported architecture (${supportedModelTypes.join(", ")})`,
    seen: JSON.stringify(type) ?? "no such key",
    fix: guess ? `if the model is a ${guess}, set "model_type": "${guess}"` : "use another model",
  });
}
