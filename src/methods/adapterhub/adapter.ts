// Bottleneck adapters as a method. Names, defaults and file format are those of AdapterHub's library
// `adapters`, since PEFT has none of them.

import { z } from "zod";
import type { JsonObject } from "../../hub/index.ts";
import type { BoundMethod, MethodDefinition, ModelDescription } from "../method.ts";
import { completeOptions } from "../option-schema.ts";
import { boundParts } from "./adapter-part.ts";
import { checkAdapterName } from "./adapterhub-config.ts";
import { bottleneckPart } from "./bottleneck.ts";
import {
  BOTTLENECK_IDLE,
  bottleneckKeys,
  bottleneckSettings,
  fromBottleneckConfig,
} from "./bottleneck-options.ts";

const adapterSchema = z.strictObject({
  name: z
    .literal("adapter")
    .describe("Small networks inside every block (Houlsby et al. 2019), as AdapterHub has them."),
  ...bottleneckKeys,
  adapterName: z
    .string()
    .default("default")
    .describe("The adapter's name, which AdapterHub's files have in every tensor's key."),
});

export type AdapterOptions = z.input<typeof adapterSchema>;

/** @throws TunesmithError (config) for options that contradict each other or the model */
function bindAdapter(given: AdapterOptions, model: ModelDescription): BoundMethod {
  const { name, adapterName, ...options } = completeOptions(adapterSchema, given);
  checkAdapterName(adapterName);
  const settings = bottleneckSettings(options);
  const part = bottleneckPart(settings, model, adapterName);
  return {
    ...boundParts(name, [part], model, {
      adapterName,
      config: part.config,
      ...(settings.invertsOutput && { extra: { inverts_output: true } }),
    }),
    unmergeable: "networks with an activation inside, which no weight can stand for",
  };
}

export const adapter = {
  schema: adapterSchema,
  learningRate: 1e-4,
  describe: ({ preset = "seq_bn" }) => `bottleneck adapters (${preset})`,
  idle: BOTTLENECK_IDLE,
  bind: bindAdapter,
  adapterHub: {
    architectures: [undefined, null, "bottleneck"],
    options: (config: JsonObject, envelope: JsonObject, where: string) => ({
      name: "adapter",
      ...fromBottleneckConfig(config, where),
      adapterName: String(envelope.name),
      ...(envelope.inverts_output === true && { invertsOutput: true }),
    }),
  },
} satisfies MethodDefinition<AdapterOptions>;
