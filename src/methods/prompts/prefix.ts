// Prefix tuning (Li & Liang 2021): trained keys and values in front of those of every layer, flat or
// made by an encoder from embeddings. Names and file format are those of PEFT's `PrefixTuningConfig`.

import { z } from "zod";
import { TunesmithError } from "../../errors.ts";
import type { JsonObject } from "../../hub/index.ts";
import { concat, type Tensor, tanh } from "../../tensor/index.ts";
import type {
  BoundMethod,
  MethodDefinition,
  MethodScope,
  ModelDescription,
  ParameterSpec,
  SavedAdapter,
} from "../method.ts";
import { completeOptions, count, derived } from "../option-schema.ts";
import { dense } from "../parts/dense-layer.ts";
import { normalSpec, uniformSpec, zeroSpec } from "../parts/initial-values.ts";
import { inPieces, joinPieces, splitTensor } from "../parts/joined-tensor.ts";
import { prefixStates } from "../parts/prefix-states.ts";
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
  return {
    name: "prefix",
    parameters: source.parameters,
    replaces: new Map(),
    prefix(path, _, scope) {
      const layer = model.blocks.findIndex(({ attention }) => attention === path);
      return prefixStates(source.states(layer, scope), model.dimensions);
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

/** Keys and values themselves, [tokens, layers · 2 · width] in the file. */
function flat({ tokens, layers, width }: Sizes, isZero: boolean): PrefixSource {
  const whole = inPieces(
    { key: PROMPT_KEY, count: layers, shape: [tokens, 2 * width], axis: 1 },
    isZero ? zeroSpec : normalSpec,
  );
  return {
    parameters: whole.pieces,
    states: (layer, scope) => scope.parameter(whole.pieces[layer]!),
    saved: { read: (tensors) => splitTensor(whole, tensors) },
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
  const byLayer = (name: string, shape: readonly number[]) =>
    inPieces({ key: `${last}.${name}`, count: layers, shape, axis: 0 }, (key) =>
      isZero ? zeroSpec(key, shape) : uniformSpec(key, shape, encoderSize),
    );
  const weight = byLayer("weight", [2 * width, encoderSize]);
  const bias = byLayer("bias", [2 * width]);
  const shared = [embedding, first.weight, first.bias];
  return {
    parameters: [...shared, ...weight.pieces, ...bias.pieces],
    states(layer, scope) {
      const inner = tanh(dense(scope.parameter(embedding), first, scope));
      return dense(inner, { weight: weight.pieces[layer]!, bias: bias.pieces[layer]! }, scope);
    },
    saved: {
      encoder: (values) =>
        new Map([
          ...asTensors(shared, values),
          [weight.key, joinPieces(weight, values)],
          [bias.key, joinPieces(bias, values)],
        ]),
      read: (_, encoder = new Map()) =>
        new Map([
          ...[...encoder].filter(([key]) => !key.startsWith(`${last}.`)),
          ...splitTensor(weight, encoder),
          ...splitTensor(bias, encoder),
        ]),
    },
  };
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
