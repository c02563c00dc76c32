// What can be said about an AdapterFusion, in a recipe and in the library's file.

import { join } from "node:path";
import { z } from "zod";
import type { JsonObject } from "../../hub/index.ts";
import { derived } from "../option-schema.ts";
import { fromHubConfig, type HubLayout } from "./adapterhub-config.ts";

/** How much of the value matrices' distance from identity counts as loss, in the library. */
export const REGULARIZATION = 0.01;

/** The recipe's section. */
export const fusionSchema = z.strictObject({
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

/** The configuration of a fusion, by the keys of what is saved. */
export const fusionLayout: HubLayout = {
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

/**
 * The options of a fusion that was saved with its adapters.
 * @throws TunesmithError (checkpoint) for settings that are not implemented
 */
export function fromFusionSetup(setup: JsonObject, folder: string): AdapterFusionOptions {
  const { fusion, adapters } = setup as { fusion: JsonObject; adapters: JsonObject };
  const where = `${folder}: adapter_fusion_config.json`;
  const saved = fromHubConfig(
    savedSchema,
    fusionLayout,
    (fusion.config ?? {}) as JsonObject,
    where,
  );
  return {
    name: "adapter-fusion",
    adapters: Object.keys(adapters).map((name) => join(folder, name)),
    preset: saved.value ? "dynamic" : "static",
    ...(saved.dropout && { dropout: saved.dropout }),
    regularization: saved.value && saved.regularization ? REGULARIZATION : 0,
  };
}
