// Prefix tuning (Li & Liang 2021) as AdapterHub's library has it: keys and values in front of every
// layer's, made by a small network or trained directly, optionally with a gate. Unlike PEFT's, it
// leaves positions as they are and keeps the network in its file.

import { z } from "zod";
import { TunesmithError } from "../../errors.ts";
import type { JsonObject } from "../../hub/index.ts";
import { broadcast, multiply, reshape, slice, type Tensor } from "../../tensor/index.ts";
import type { IdleOption } from "../idle-options.ts";
import type { MethodScope, ModelDescription, ParameterSpec } from "../method.ts";
import { count } from "../option-schema.ts";
import { type DenseLayer, dense } from "../parts/dense-layer.ts";
import { normalSpec, uniformSpec } from "../parts/initial-values.ts";
import { inPieces, type JoinedTensor } from "../parts/joined-tensor.ts";
import { applyNonLinearity, nonLinearityNames } from "../parts/non-linearity.ts";
import { prefixStates } from "../parts/prefix-states.ts";
import { type AdapterPart, modelPrefix } from "./adapter-part.ts";
import { fromHubConfig, type HubLayout, toHubConfig } from "./adapterhub-config.ts";
import { gateLayer, rowGate } from "./row-gate.ts";

export const hubPrefixKeys = {
  length: count.default(30).describe("Virtual tokens in front of every text."),
  flat: z
    .boolean()
    .default(false)
    .describe("Train keys and values themselves, without a network that makes them."),
  encoderSize: count.default(512).describe("Width of that network."),
  nonLinearity: z.enum(nonLinearityNames).default("tanh").describe("Its activation."),
  dropout: z.number().min(0).lt(1).default(0).describe("Dropout on keys and values."),
  leaveOut: z.array(z.int().min(0)).default([]).describe("Layers without a prefix, from 0."),
  gated: z.boolean().default(false).describe("A gate a row on keys and values."),
  sharedGate: z.boolean().default(true).describe("One gate for both, or one each."),
} as const;

const hubPrefixSchema = z.strictObject(hubPrefixKeys);

export type HubPrefixOptions = z.input<typeof hubPrefixSchema>;

/** What only a network and a gate read. */
export const HUB_PREFIX_IDLE: readonly IdleOption<HubPrefixOptions>[] = [
  ...(["encoderSize", "nonLinearity"] as const).map((option) => ({
    option,
    isIdle: ({ flat }: HubPrefixOptions) => flat === true,
    needs: "flat: false",
  })),
  { option: "sharedGate", isIdle: ({ gated }) => !gated, needs: "gated: true" },
];

const layout: HubLayout = {
  architecture: "prefix_tuning",
  keys: {
    length: ["prefix_length", 30],
    flat: ["flat", false],
    encoderSize: ["bottleneck_size", 512],
    nonLinearity: ["non_linearity", "tanh"],
    dropout: ["dropout", 0],
    leaveOut: ["leave_out", []],
    gated: ["use_gating", false],
    sharedGate: ["shared_gating", true],
  },
  unused: { cross_prefix: true, encoder_prefix: true, init_weights_seed: null },
};

export const fromHubPrefixConfig = (config: JsonObject, where: string): HubPrefixOptions =>
  fromHubConfig(hubPrefixSchema, layout, config, where);

/** What makes a layer's keys and values, [length, 2 · width], and the file's tensors of it. */
interface PrefixSource {
  readonly parameters: readonly ParameterSpec[];
  readonly joined: readonly JoinedTensor[];
  /** @param index of the layer among those with a prefix */
  readonly states: (index: number, scope: MethodScope) => Tensor;
}

interface Sizes {
  readonly length: number;
  /** Layers with a prefix. */
  readonly layers: number;
  /** Of a layer's keys, and of its values: all heads. */
  readonly width: number;
}

/** @throws TunesmithError (config) where no layer is left */
export function hubPrefixPart(
  given: HubPrefixOptions,
  model: ModelDescription,
  adapterName: string,
  where = "method",
): AdapterPart {
  const options = hubPrefixSchema.parse(given);
  const { length, leaveOut, gated, sharedGate } = options;
  const { keyValueHeads: heads, headSize, hiddenSize } = model.dimensions;
  const paths = model.blocks
    .filter((_, layer) => !leaveOut.includes(layer))
    .map(({ attention }) => attention);
  if (paths.length === 0)
    throw new TunesmithError("config", {
      where: `${where}.leaveOut`,
      rule: "leaves at least one layer with a prefix",
      seen: "none",
      fix: "leave fewer layers out",
    });
  const width = heads * headSize;
  const sizes: Sizes = { length, layers: paths.length, width };
  const key = `${modelPrefix(model)}.prefix_tuning.prefix_tunings.${adapterName}.self_prefix`;
  const source = options.flat
    ? flatSource(key, sizes)
    : networkSource(key, sizes, hiddenSize, options);
  const gates = new Map(
    paths.map((path) => [
      path,
      gateLayer(
        `${path}.prefix_tuning.prefix_gates.${adapterName}`,
        hiddenSize,
        sharedGate ? 1 : 2,
        "uniform",
      ),
    ]),
  );
  return {
    parameters: [
      ...source.parameters,
      ...(gated ? [...gates.values()].flatMap(({ weight, bias }) => [weight, bias]) : []),
    ],
    joined: source.joined,
    adapted: paths,
    config: toHubConfig(layout, options),
    ...(gated && { mixesPositions: true }),
    prefix(path, input, scope) {
      const index = paths.indexOf(path);
      if (index < 0) return undefined;
      const states = prefixStates(source.states(index, scope), model.dimensions);
      const keys = droppedByRow(states.keys, options.dropout, `${path} keys`, scope);
      const values = droppedByRow(states.values, options.dropout, `${path} values`, scope);
      if (!gated) return { keys, values };
      const gate = rowGate(input, gates.get(path)!, scope);
      const factor = (column: number) =>
        reshape(slice(gate, 2, column, column + 1), [scope.batch, 1, 1, 1]);
      return {
        keys: multiply(keys, factor(0)),
        values: multiply(values, factor(sharedGate ? 0 : 1)),
      };
    },
  };
}

/** Dropout on keys or values [1, heads, length, size], of its own for each row of the batch. */
function droppedByRow(x: Tensor, probability: number, site: string, scope: MethodScope): Tensor {
  if (probability === 0 || !scope.training) return x;
  const [, ...shape] = x.shape;
  return scope.dropout(broadcast(x, [scope.batch, ...shape]), probability, site);
}

/** Keys and values themselves; the file has them as a vector of [length, layers, 2 · width]. */
function flatSource(key: string, { length, layers, width }: Sizes): PrefixSource {
  const whole = inPieces(
    { key: `${key}.control_trans`, count: layers, shape: [length, 2 * width], axis: 1 },
    normalSpec,
    true,
  );
  return {
    parameters: whole.pieces,
    states: (index, scope) => scope.parameter(whole.pieces[index]!),
    joined: [whole],
  };
}

/** act(E W₁ᵀ + b₁) W₂ᵀ + b₂, the rows of W₂ and b₂ by layers. */
function networkSource(
  key: string,
  { length, layers, width }: Sizes,
  hiddenSize: number,
  { encoderSize, nonLinearity }: z.output<typeof hubPrefixSchema>,
): PrefixSource {
  const embedding = normalSpec(`${key}.wte.weight`, [length, hiddenSize]);
  const first: DenseLayer = {
    weight: uniformSpec(`${key}.control_trans.0.weight`, [encoderSize, hiddenSize], hiddenSize),
    bias: uniformSpec(`${key}.control_trans.0.bias`, [encoderSize], hiddenSize),
  };
  const byLayer = (name: string, shape: readonly number[]) =>
    inPieces({ key: `${key}.control_trans.2.${name}`, count: layers, shape, axis: 0 }, (own) =>
      uniformSpec(own, shape, encoderSize),
    );
  const weight = byLayer("weight", [2 * width, encoderSize]);
  const bias = byLayer("bias", [2 * width]);
  return {
    parameters: [embedding, first.weight, first.bias, ...weight.pieces, ...bias.pieces],
    states(index, scope) {
      const inner = applyNonLinearity(
        nonLinearity,
        dense(scope.parameter(embedding), first, scope),
      );
      return dense(inner, { weight: weight.pieces[index]!, bias: bias.pieces[index]! }, scope);
    },
    joined: [weight, bias],
  };
}
