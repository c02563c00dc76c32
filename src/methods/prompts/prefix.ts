// Prefix tuning (Li & Liang 2021): trained keys and values in front of those of every layer, flat or
// made by an encoder from embeddings. Names and file format are those of PEFT's `PrefixTuningConfig`.

import { z } from "zod";
import { TunesmithError } from "../../errors.ts";
import type { AdapterTensor, JsonObject } from "../../hub/index.ts";
import { concat, reshape, slice, type Tensor, tanh, transpose } from "../../tensor/index.ts";
import type {
  AdapterTensors,
  BoundMethod,
  MethodDefinition,
  MethodScope,
  ModelDescription,
  ParameterSpec,
  ParameterValues,
  SavedAdapter,
} from "../method.ts";
import { completeOptions, count, derived } from "../option-schema.ts";
import { type DenseLayer, dense } from "../parts/dense-layer.ts";
import { normalSpec, uniformSpec, zeroSpec } from "../parts/initial-values.ts";
import { fromPeftConfig, type PeftLayout } from "../peft-format.ts";
import {
  asTensors,
  checkVirtualTokens,
  denseLayer,
  encoderKey,
  ONLY_PROMPT,
  PROMPT_KEY,
  promptConfig,
  virtualTokens,
} from "./prompt-learning.ts";

const prefixSchema = z.strictObject({
  name: z
    .literal("prefix")
    .describe("Trained keys and values in front of every layer's (Li & Liang 2021)."),
  virtualTokens,
  projection: z
    .boolean()
    .default(false)
    .describe("Make them by a small network: steadier to train, and gone when they are used."),
  encoderSize: count
    .optional()
    .describe("Width of that network.")
    .meta(derived("key-value heads × head size")),
  init: z
    .enum(["random", "zero"])
    .default("random")
    .describe("Whether keys and values start random or as zeros."),
});

export type PrefixOptions = z.input<typeof prefixSchema>;

const layout: PeftLayout = {
  type: "PREFIX_TUNING",
  keys: {
    virtualTokens: "num_virtual_tokens",
    projection: "prefix_projection",
    encoderSize: "encoder_hidden_size",
    init: "init_weights",
  },
  only: ONLY_PROMPT,
};

/** What a layer's keys and values are made by, and how the file holds it. */
interface PrefixSource {
  readonly parameters: readonly ParameterSpec[];
  /** [tokens, 2 · width]: keys, then values, each head by head. */
  readonly states: (layer: number, scope: MethodScope) => Tensor;
  readonly saved: Pick<SavedAdapter, "encoder" | "read">;
}

interface Sizes {
  readonly tokens: number;
  readonly layers: number;
  /** Of a layer's keys, and of its values: all heads. */
  readonly width: number;
}

/** @throws TunesmithError (config) for options that contradict each other or the model */
function bindPrefix(given: PrefixOptions, model: ModelDescription): BoundMethod {
  const options = completeOptions(prefixSchema, given);
  const { virtualTokens: tokens, projection, init } = options;
  const { layers, keyValueHeads: heads, headSize } = model.dimensions;
  const width = heads * headSize;
  checkVirtualTokens(tokens, model);
  if (!projection && given.encoderSize !== undefined)
    throw new TunesmithError("config", {
      where: "method.encoderSize",
      rule: "goes with projection: true",
      seen: String(given.encoderSize),
      fix: "set projection: true, or leave encoderSize out",
    });
  const encoderSize = options.encoderSize ?? width;
  const sizes: Sizes = { tokens, layers, width };
  const isZero = init === "zero";
  const source = projection ? projected(sizes, encoderSize, isZero) : flat(sizes, isZero);
  const config = promptConfig(
    layout,
    { virtualTokens: tokens, projection, encoderSize, init: isZero ? "zero" : undefined },
    model,
    { width, heads },
  );
  const perHead = (x: Tensor) => transpose(reshape(x, [1, tokens, heads, headSize]), [0, 2, 1, 3]);
  return {
    name: "prefix",
    parameters: source.parameters,
    replaces: new Map(),
    prefix(path, _, scope) {
      const layer = model.blocks.findIndex(({ attention }) => attention === path);
      const states = source.states(layer, scope);
      return {
        keys: perHead(slice(states, 1, 0, width)),
        values: perHead(slice(states, 1, width, 2 * width)),
      };
    },
    positionOffset: tokens,
    unmergeable: "keys and values of virtual tokens, which no weight can stand for",
    saved: {
      config,
      computed: (scope) => {
        const all = Array.from({ length: layers }, (__, layer) => source.states(layer, scope));
        return new Map([[PROMPT_KEY, concat(all, 1)]]);
      },
      ...source.saved,
    },
  };
}

/** Keys and values themselves; the file's tensor in pieces, so that a layer's gradient is its own. */
function flat({ tokens, layers, width }: Sizes, isZero: boolean): PrefixSource {
  const spec = isZero ? zeroSpec : normalSpec;
  const parameters = Array.from({ length: layers }, (_, layer) =>
    spec(`${PROMPT_KEY}.${layer}`, [tokens, 2 * width]),
  );
  return {
    parameters,
    states: (layer, scope) => scope.parameter(parameters[layer]!),
    saved: {
      read: (tensors) => splitTensor(tensors, PROMPT_KEY, parameters, 1),
    },
  };
}

/** tanh(E W₁ᵀ + b₁) W₂ᵀ + b₂, the rows of W₂ and b₂ by layers. */
function projected(
  { tokens, layers, width }: Sizes,
  encoderSize: number,
  isZero: boolean,
): PrefixSource {
  const embedding = normalSpec(encoderKey("embedding.weight"), [tokens, width]);
  const first = denseLayer("transform.0", width, encoderSize);
  const last = encoderKey("transform.2");
  const lastSpec = (key: string, shape: readonly number[]) =>
    isZero ? zeroSpec(key, shape) : uniformSpec(key, shape, encoderSize);
  const byLayer = Array.from(
    { length: layers },
    (_, layer): DenseLayer => ({
      weight: lastSpec(`${last}.weight.${layer}`, [2 * width, encoderSize]),
      bias: lastSpec(`${last}.bias.${layer}`, [2 * width]),
    }),
  );
  const weights = byLayer.map(({ weight }) => weight);
  const biases = byLayer.map(({ bias }) => bias);
  const shared = [embedding, first.weight, first.bias];
  return {
    parameters: [...shared, ...weights, ...biases],
    states: (layer, scope) =>
      dense(tanh(dense(scope.parameter(embedding), first, scope)), byLayer[layer]!, scope),
    saved: {
      encoder: (values) =>
        new Map([
          ...asTensors(shared, values),
          [`${last}.weight`, joined(weights, values)],
          [`${last}.bias`, joined(biases, values)],
        ]),
      read: (_, encoder = new Map()) =>
        new Map([
          ...[...encoder].filter(([key]) => !key.startsWith(`${last}.`)),
          ...splitTensor(encoder, `${last}.weight`, weights, 0),
          ...splitTensor(encoder, `${last}.bias`, biases, 0),
        ]),
    },
  };
}

/** Tensors one after another along their first axis. */
function joined(specs: readonly ParameterSpec[], values: ParameterValues): AdapterTensor {
  const parts = specs.map(values);
  const data = new Float32Array(parts.reduce((sum, { length }) => sum + length, 0));
  let start = 0;
  for (const part of parts) {
    data.set(part, start);
    start += part.length;
  }
  const [rows, ...rest] = specs[0]!.shape as [number, ...number[]];
  return { shape: [rows * specs.length, ...rest], data };
}

/**
 * The tensor `key` cut along `axis` into those of `specs`; where it has another size than theirs
 * together, each gets the whole, and whoever compares shapes says so.
 */
function splitTensor(
  tensors: AdapterTensors,
  key: string,
  specs: readonly ParameterSpec[],
  axis: 0 | 1,
): AdapterTensors {
  const whole = tensors.get(key);
  if (!whole) return new Map();
  const { shape } = specs[0]!;
  const wanted = shape.map((size, i) => (i === axis ? size * specs.length : size));
  if (wanted.join() !== whole.shape.join()) return new Map(specs.map((spec) => [spec.key, whole]));
  const part = shape.slice(axis).reduce((product, size) => product * size, 1);
  const row = part * specs.length;
  const rows = whole.data.length / row;
  return new Map(
    specs.map((spec, i) => {
      const data = new Float32Array(rows * part);
      for (let r = 0; r < rows; r++)
        data.set(whole.data.subarray(r * row + i * part, r * row + (i + 1) * part), r * part);
      return [spec.key, { shape, data }];
    }),
  );
}

/**
 * A prefix without its encoder is a flat one: what PEFT saves, and what is left to train.
 * @throws TunesmithError (checkpoint) for settings that are not implemented
 */
function fromPrefixConfig(config: JsonObject, folder: string, hasEncoder: boolean): PrefixOptions {
  const options = fromPeftConfig(prefixSchema, layout, config, folder);
  if (options.projection && hasEncoder) return options;
  const { encoderSize: _, ...rest } = options;
  return { ...rest, projection: false };
}

export const prefix = {
  schema: prefixSchema,
  // Steps move the numbers themselves, which are of size 1, or through the encoder all of them at once.
  learningRate: ({ projection = false }) => (projection ? 1e-3 : 3e-2),
  describe: ({ virtualTokens: tokens = 20, projection = false }) =>
    `prefix tuning, ${tokens} virtual tokens${projection ? " by an encoder" : ""}`,
  bind: bindPrefix,
  peft: { type: layout.type, options: fromPrefixConfig },
} satisfies MethodDefinition<PrefixOptions>;
