// AdapterFusion (Pfeiffer et al. 2021): several trained adapters stay as they are, and at each place an
// attention over what they add is trained. Reference: `BertFusion` of AdapterHub's library.

import { join } from "node:path";
import { z } from "zod";
import { type Fault, TunesmithError } from "../../errors.ts";
import { type Adapter, type JsonObject, readAdapter, readFusedConfig } from "../../hub/index.ts";
import {
  add,
  concat,
  constant,
  linear,
  matmul,
  multiply,
  reshape,
  slice,
  softmax,
  subtract,
  sum,
  type Tensor,
} from "../../tensor/index.ts";
import type {
  BoundMethod,
  MethodDefinition,
  MethodScope,
  ModelDescription,
  ParameterSpec,
} from "../method.ts";
import { completeOptions, derived } from "../option-schema.ts";
import type { DenseLayer } from "../parts/dense-layer.ts";
import { normalSpec, zeroSpec } from "../parts/initial-values.ts";
import { fromHubConfig, type HubLayout, hubEnvelope, toHubConfig } from "./adapterhub-config.ts";
import {
  adapterInput,
  type Bottleneck,
  type BottleneckSite,
  bottleneck,
  bottleneckPart,
  bottleneckSites,
} from "./bottleneck.ts";
import {
  type BottleneckSettings,
  bottleneckSettings,
  fromBottleneckConfig,
} from "./bottleneck-options.ts";

/** How much of the value matrices' distance from identity counts as loss, in the library. */
const REGULARIZATION = 0.01;

const fusionSchema = z.strictObject({
  name: z
    .literal("adapter-fusion")
    .describe("A trained attention over trained adapters (Pfeiffer et al. 2021)."),
  adapters: z
    .array(z.string())
    .min(2)
    .describe("Folders of the adapters, trained with method: adapter under names of their own."),
  preset: z
    .enum(["dynamic", "static"])
    .default("dynamic")
    .describe("With a value matrix, or without one."),
  dropout: z.number().min(0).lt(1).default(0).describe("Dropout on the attention's scores."),
  regularization: z
    .number()
    .min(0)
    .optional()
    .describe("Weight of the value matrices' squared distance from identity in the loss.")
    .meta(derived("0.01 with a value matrix")),
});

export type AdapterFusionOptions = z.input<typeof fusionSchema>;

const layout: HubLayout = {
  keys: {
    value: ["value", true],
    regularization: ["regularization", true],
    dropout: ["dropout_prob", null],
  },
  unused: { value_initialized: true },
  only: {
    key: true,
    query: true,
    query_before_ln: false,
    residual_before: false,
    temperature: false,
    value_before_softmax: true,
  },
};

const savedSchema = z.strictObject({
  value: z.boolean(),
  regularization: z.boolean(),
  dropout: z.number().min(0).lt(1).optional(),
});

/** A trained adapter that takes part. */
interface Fused {
  readonly name: string;
  readonly envelope: JsonObject;
  readonly settings: BottleneckSettings;
}

/** The attention at one site. */
interface Attention {
  readonly query: DenseLayer;
  readonly key: DenseLayer;
  readonly value: ParameterSpec | undefined;
  readonly adapters: readonly Bottleneck[];
}

/** @throws TunesmithError for folders that hold no adapters, or adapters that do not go together */
function bindFusion(given: AdapterFusionOptions, model: ModelDescription): BoundMethod {
  const options = completeOptions(fusionSchema, given);
  const { preset, dropout } = options;
  const hasValue = preset === "dynamic";
  const regularization = options.regularization ?? (hasValue ? REGULARIZATION : 0);
  const fused = options.adapters.map((folder): Fused => {
    const envelope = readFusedConfig(folder);
    const config = envelope.config as JsonObject;
    const settings = bottleneckSettings(
      fromBottleneckConfig(config, `${folder}/adapter_config.json`),
    );
    // What only training has is over.
    const inUse = { ...settings, dropout: 0, stochasticDepth: 0 };
    return { name: String(envelope.name), envelope, settings: inUse };
  });
  checkFused(fused, options.adapters);
  // Each adapter's own settings must fit the model, as where it is used alone.
  for (const { settings, name } of fused) bottleneckPart(settings, model, name);
  const { settings: last } = fused.at(-1)!;
  const name = fused.map((adapter) => adapter.name).join(",");
  const frozen = fused.map(({ settings }, i) => frozenFrom(options.adapters[i]!, settings));
  const { hiddenSize } = model.dimensions;

  const attentionAt = (site: BottleneckSite): Attention => {
    const key = `${site.slot}.adapter_fusion_layer.${name}`;
    const layer = (part: string): DenseLayer => ({
      weight: normalSpec(`${key}.${part}.weight`, [hiddenSize, hiddenSize], 0.02),
      bias: zeroSpec(`${key}.${part}.bias`, [hiddenSize]),
    });
    return {
      query: layer("query"),
      key: layer("key"),
      value: hasValue ? nearIdentity(`${key}.value.weight`, hiddenSize) : undefined,
      adapters: fused.map((adapter, i) =>
        frozen[i]!(bottleneck(adapter.settings, model, site, adapter.name)),
      ),
    };
  };
  const sites = new Map(
    bottleneckSites(model, last).map((site) => [site.path, attentionAt(site)] as const),
  );
  const trained = ({ query, key, value }: Attention) => [
    query.weight,
    query.bias,
    key.weight,
    key.bias,
    ...(value ? [value] : []),
  ];
  const parameters = [...sites.values()].flatMap((site) => [
    ...site.adapters.flatMap((adapter) => adapter.parameters),
    ...trained(site),
  ]);
  return {
    name: "adapter-fusion",
    parameters: [...new Map(parameters.map((spec) => [spec.key, spec])).values()],
    adapted: [...sites.keys()],
    replaces: new Map(),
    residual(path, x, output, scope) {
      const site = sites.get(path);
      if (!site) return add(x, output);
      const { z, residual } = adapterInput(last, x, output);
      if (scope.training && site.value && regularization > 0)
        scope.statistic(`${path} fusion`, distanceFromIdentity(scope.parameter(site.value)));
      const mixed = add(fuse(site, z, dropout, path, scope), residual);
      return last.originalNormAfter ? add(mixed, x) : mixed;
    },
    ...(hasValue &&
      regularization > 0 && {
        auxiliaryLoss: (statistics: ReadonlyMap<string, Float32Array>) => ({
          loss: [...statistics.values()].reduce((total, [d]) => total + regularization * d!, 0),
          gradients: new Map(
            [...statistics.keys()].map((key) => [key, Float32Array.of(regularization)]),
          ),
        }),
      }),
    unmergeable: "an attention over adapters, which no weight can stand for",
    saved: {
      config: {
        adapter_setup: {
          type: "Fuse",
          children: fused.map((one) => ({ type: "single", children: [one.name] })),
        },
        head_setup: null,
        version: hubEnvelope(name, {}, model).version,
        adapters: Object.fromEntries(fused.map((one) => [one.name, one.envelope])),
        fusion: {
          ...hubEnvelope(
            name,
            toHubConfig(layout, {
              value: hasValue,
              regularization: regularization > 0,
              dropout: dropout || null,
            }),
            model,
          ),
          adapter_names: fused.map((one) => one.name),
        },
      },
    },
  };
}

/**
 * Σᵢ pᵢ V uᵢ with p = softmax(q · (K uᵢ + b)): of what the adapters add, uᵢ. K goes to the query's side
 * and V behind the sum, so that there are three full products, however many adapters.
 */
function fuse(
  { query, key, value, adapters }: Attention,
  z: Tensor,
  dropout: number,
  path: string,
  scope: MethodScope,
): Tensor {
  const added = adapters.map((adapter) => adapter.up(z, scope));
  const q = add(linear(z, scope.parameter(query.weight)), scope.parameter(query.bias));
  const probe = matmul(q, scope.parameter(key.weight));
  const shift = sum(multiply(q, scope.parameter(key.bias)), [1]);
  const scores = concat(
    added.map((u) => add(sum(multiply(probe, u), [1]), shift)),
    1,
  );
  const shares = softmax(scope.dropout(scores, dropout, `${path} fusion`));
  const mixed = added
    .map((u, i) => multiply(u, slice(shares, 1, i, i + 1)))
    .reduce((total, part) => add(total, part));
  return value ? linear(mixed, scope.parameter(value)) : mixed;
}

/** How value matrices start: 1 on the diagonal, next to nothing elsewhere. */
const nearIdentity = (key: string, size: number): ParameterSpec => ({
  key,
  shape: [size, size],
  initial: async () =>
    Float32Array.from({ length: size * size }, (_, i) => (i % (size + 1) === 0 ? 1 : 1e-6)),
});

/** Σ (V − I)², [1]. */
function distanceFromIdentity(value: Tensor): Tensor {
  const size = value.shape[0]!;
  const squares = (x: Tensor) => reshape(sum(multiply(x, x), [0, 1]), [1]);
  // In rows of size + 1 the diagonal is the first column; its last element is left over.
  const end = size * size - 1;
  const flat = reshape(value, [1, size * size]);
  const rows = reshape(slice(flat, 1, 0, end), [size - 1, size + 1]);
  const diagonal = concat([slice(rows, 1, 0, 1), slice(flat, 1, end, end + 1)], 0);
  return add(squares(slice(rows, 1, 1, size + 1)), squares(subtract(diagonal, constant(1))));
}

/** An adapter's tensors as they are in its folder, not to be trained. */
function frozenFrom(folder: string, { phm }: BottleneckSettings) {
  let file: Promise<Adapter> | undefined;
  const known = new Map<string, ParameterSpec>();
  const spec = ({ key, shape }: ParameterSpec): ParameterSpec => ({
    key,
    shape,
    frozen: true,
    async initial() {
      file ??= readAdapter(folder);
      const tensor = (await file).tensors.get(key);
      if (tensor?.shape.join() === shape.join()) return tensor!.data;
      throw new TunesmithError("checkpoint", {
        where: `${folder}: ${key}`,
        rule: `the base model asks for a tensor of shape [${shape.join(", ")}]`,
        seen: tensor ? `[${tensor.shape.join(", ")}]` : "no such tensor",
        fix: `fuse adapters of this base${phm ? ", trained with the same options" : ""}`,
      });
    },
  });
  const asFrozen = (own: ParameterSpec): ParameterSpec => {
    const found = known.get(own.key) ?? spec(own);
    known.set(own.key, found);
    return found;
  };
  return (adapter: Bottleneck): Bottleneck => ({
    ...adapter,
    parameters: adapter.parameters.map(asFrozen),
    up: (z, scope) =>
      adapter.up(z, { ...scope, parameter: (own) => scope.parameter(asFrozen(own)) }),
  });
}

/** Settings that decide where adapters sit and what they read: the last one's are those of all. */
const SHARED = [
  "afterAttention",
  "afterFeedForward",
  "leaveOut",
  "originalNormBefore",
  "originalNormAfter",
  "residualBeforeNorm",
] as const satisfies readonly (keyof BottleneckSettings)[];

/** What a fused adapter cannot have: the library leaves it out of a fusion. */
const ALONE = [
  "parallel",
  "gated",
  "normAfter",
  "invertible",
] as const satisfies readonly (keyof BottleneckSettings)[];

/** @throws TunesmithError (config) with every fault */
function checkFused(fused: readonly Fused[], folders: readonly string[]): void {
  const faults: Fault[] = [];
  const last = fused.at(-1)!;
  fused.forEach(({ name, settings }, i) => {
    const where = `method.adapters.${i} (${folders[i]})`;
    const twin = fused.findIndex((other) => other.name === name);
    if (twin < i)
      faults.push({
        where,
        rule: "adapters to be fused have different names",
        seen: `${JSON.stringify(name)}, the name of ${folders[twin]} too`,
        fix: "train one of them under another method.adapterName",
      });
    for (const option of ALONE)
      if (settings[option])
        faults.push({
          where,
          rule: "an adapter to be fused is behind its half of the block, and its output all it adds",
          seen: `${option}: ${settings[option]}`,
          fix: `train it without ${option}`,
        });
    for (const option of SHARED)
      if (String(settings[option]) !== String(last.settings[option]))
        faults.push({
          where,
          rule: "adapters to be fused sit at the same places",
          seen: `${option}: ${settings[option]}, where ${JSON.stringify(last.name)} has ${last.settings[option]}`,
          fix: "train them with the same preset and leaveOut",
        });
  });
  if (faults.length > 0) throw new TunesmithError("config", faults);
}

/**
 * The options of a fusion that was saved with its adapters.
 * @throws TunesmithError (checkpoint) for settings that are not implemented
 */
function fromSetup(setup: JsonObject, folder: string): AdapterFusionOptions {
  const { fusion, adapters } = setup as { fusion: JsonObject; adapters: JsonObject };
  const where = `${folder}: adapter_fusion_config.json`;
  const saved = fromHubConfig(savedSchema, layout, (fusion.config ?? {}) as JsonObject, where);
  return {
    name: "adapter-fusion",
    adapters: Object.keys(adapters).map((name) => join(folder, name)),
    preset: saved.value ? "dynamic" : "static",
    ...(saved.dropout && { dropout: saved.dropout }),
    regularization: saved.value && saved.regularization ? REGULARIZATION : 0,
  };
}

export const adapterFusion = {
  schema: fusionSchema,
  learningRate: 5e-5,
  describe: ({ adapters, preset = "dynamic" }) =>
    `AdapterFusion (${preset}) of ${adapters.length} adapters`,
  idle: [
    {
      option: "regularization",
      isIdle: ({ preset }) => preset === "static",
      needs: "preset: dynamic",
    },
  ],
  bind: bindFusion,
  adapterSetup: fromSetup,
} satisfies MethodDefinition<AdapterFusionOptions>;
