// What can be said about X-LoRA, as its recipe section and PEFT's `XLoraConfig` say it.

import { z } from "zod";
import { TunesmithError } from "../../errors.ts";
import { expertFolders, type JsonObject } from "../../hub/index.ts";
import { count, derived } from "../option-schema.ts";
import { fromPeftConfig, type PeftLayout } from "../peft-format.ts";

/** The recipe's section; defaults are PEFT's. */
export const xLoraSchema = z.strictObject({
  name: z
    .literal("x-lora")
    .describe("A trained classifier that mixes trained LoRAs token by token (Buehler 2024)."),
  adapters: z
    .array(z.string())
    .min(1)
    .describe("Folders of the LoRAs, trained with method: lora on the same base."),
  layerwise: z
    .boolean()
    .default(false)
    .describe("Scalings of its own for each adapted layer, instead of the same for all."),
  depth: count.default(1).describe("Layers of the classifier."),
  size: count.default(2048).describe("Width between the classifier's layers, from depth 2."),
  dropout: z
    .number()
    .min(0)
    .lt(1)
    .default(0.2)
    .describe("Dropout between the classifier's layers, from depth 2."),
  softmax: z.boolean().default(true).describe("Scalings of a token add up to 1."),
  temperature: z
    .number()
    .positive()
    .default(1)
    .describe("Of that softmax: lower is nearer to one adapter alone."),
  topK: count
    .optional()
    .describe("Only so many adapters for each token, the ones with the largest scalings.")
    .meta(derived("all adapters")),
  softmaxTopK: z
    .boolean()
    .default(false)
    .describe("A softmax over the scalings of those; instead of softmax."),
  trainAdapters: z.boolean().default(false).describe("Train the adapters as well."),
  firstPassScaling: z
    .number()
    .default(0)
    .describe(
      "Scaling of every adapter in the pass that the classifier reads; 0 is the base alone.",
    ),
  weight: z.number().default(1).describe("Factor on what every adapter adds."),
});

export type XLoraOptions = z.input<typeof xLoraSchema>;
export type XLoraSettings = z.output<typeof xLoraSchema>;

/** PEFT's configuration; `adapters`, `hidden_size` and the experts are beside these keys. */
export const xLoraLayout: PeftLayout = {
  type: "XLORA",
  keys: {
    layerwise: "layerwise_scalings",
    depth: "xlora_depth",
    size: "xlora_size",
    dropout: "xlora_dropout_p",
    softmax: "enable_softmax",
    temperature: "softmax_temperature",
    topK: "top_k_lora",
    softmaxTopK: "enable_softmax_topk",
    trainAdapters: "use_trainable_adapters",
    firstPassScaling: "scaling_pass_value",
    weight: "global_scaling_weight",
  },
};

/** @throws TunesmithError (config) for more choices than adapters */
export function checkTopK({ topK, adapters }: XLoraSettings): void {
  if (topK === undefined || topK <= adapters.length) return;
  throw new TunesmithError("config", {
    where: "method.topK",
    rule: "a token has at most all adapters",
    seen: `topK ${topK} of ${adapters.length} adapters`,
    fix: `use ${adapters.length} or less, or leave it out`,
  });
}

/**
 * The options that a mixture was made with.
 * @throws TunesmithError (checkpoint) for values that PEFT does not allow
 */
export function fromXLoraConfig(config: JsonObject, folder: string): XLoraOptions {
  const layout = { ...xLoraLayout, keys: { adapters: "adapters", ...xLoraLayout.keys } };
  const adapters = expertFolders(config, folder);
  return fromPeftConfig(xLoraSchema, layout, { ...config, adapters }, folder);
}
