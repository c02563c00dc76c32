// AdapterFusion (Pfeiffer et al. 2021): several trained adapters stay as they are, and at each place an
// attention over what they add is trained. Reference: `BertFusion` of AdapterHub's library.

import { add, constant, multiply } from "../../tensor/index.ts";
import type { BoundMethod, MethodDefinition, ModelDescription, TensorLoss } from "../method.ts";
import { completeOptions } from "../option-schema.ts";
import { hubEnvelope, toHubConfig } from "./adapterhub-config.ts";
import { adapterInput, bottleneck, bottleneckPart } from "./bottleneck.ts";
import { type BottleneckSite, bottleneckSites } from "./bottleneck-sites.ts";
import { frozenFrom, readFused } from "./fused-adapters.ts";
import {
  distanceFromIdentity,
  type FusionAttention,
  fuse,
  fusionAttention,
  fusionParameters,
} from "./fusion-attention.ts";
import {
  type AdapterFusionOptions,
  fromFusionSetup,
  fusionLayout,
  fusionSchema,
  REGULARIZATION,
} from "./fusion-options.ts";

/** @throws TunesmithError for folders that hold no adapters, or adapters that do not go together */
function bindFusion(given: AdapterFusionOptions, model: ModelDescription): BoundMethod {
  const options = completeOptions(fusionSchema, given);
  const { preset, dropout } = options;
  const hasValue = preset === "dynamic";
  const regularization = options.regularization ?? (hasValue ? REGULARIZATION : 0);
  const fused = readFused(options.adapters);
  // Each adapter's own settings must fit the model, as where it is used alone.
  for (const { settings, name } of fused) bottleneckPart(settings, model, name);
  const { settings: last } = fused.at(-1)!;
  const name = fused.map((adapter) => adapter.name).join(",");
  const frozen = fused.map(({ settings }, i) => frozenFrom(options.adapters[i]!, settings));
  const attentionAt = (site: BottleneckSite): FusionAttention =>
    fusionAttention(
      `${site.slot}.adapter_fusion_layer.${name}`,
      model.dimensions.hiddenSize,
      hasValue,
      fused.map((adapter, i) =>
        frozen[i]!.freeze(bottleneck(adapter.settings, model, site, adapter.name)),
      ),
    );
  const sites = new Map(
    bottleneckSites(model, last).map((site) => [site.path, attentionAt(site)] as const),
  );
  const parameters = [...sites.values()].flatMap(fusionParameters);
  return {
    name: "adapter-fusion",
    parameters: [...new Map(parameters.map((spec) => [spec.key, spec])).values()],
    adapted: [...sites.keys()],
    replaces: new Map(),
    residual(path, x, output, scope) {
      const site = sites.get(path);
      if (!site) return add(x, output);
      const { z, residual } = adapterInput(last, x, output);
      const mixed = add(fuse(site, z, dropout, path, scope), residual);
      return last.originalNormAfter ? add(mixed, x) : mixed;
    },
    ...(hasValue &&
      regularization > 0 && {
        tensorLosses: [...sites.values()]
          .flatMap(({ value }) => value ?? [])
          .map(
            (spec): TensorLoss => ({
              spec,
              loss: (value) => multiply(distanceFromIdentity(value), constant(regularization)),
            }),
          ),
      }),
    async checkFiles() {
      for (const { checkFile } of frozen) await checkFile();
    },
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
            toHubConfig(fusionLayout, {
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
  adapterSetup: fromFusionSetup,
} satisfies MethodDefinition<AdapterFusionOptions>;
