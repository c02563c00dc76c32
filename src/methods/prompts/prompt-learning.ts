// What prompt tuning, prefix tuning and P-tuning have in common: a number of virtual tokens, the
// tensors of their encoders, and PEFT's file, which holds one tensor whatever it was computed by.

import { TunesmithError } from "../../errors.ts";
import type { JsonObject } from "../../hub/index.ts";
import type {
  AdapterTensors,
  ModelDescription,
  ParameterSpec,
  ParameterValues,
} from "../method.ts";
import { count } from "../option-schema.ts";
import type { DenseLayer } from "../parts/dense-layer.ts";
import { uniformSpec } from "../parts/initial-values.ts";
import { type PeftLayout, toPeftConfig } from "../peft-format.ts";

/** The one tensor of PEFT's file. */
export const PROMPT_KEY = "prompt_embeddings";

export const virtualTokens = count
  .default(20)
  .describe("Virtual tokens in front of every text; they count towards the model's context.");

/** @throws TunesmithError (config) where virtual tokens leave no room for a text */
export function checkVirtualTokens(wanted: number, { dimensions }: ModelDescription): void {
  const { maximumPositions } = dimensions;
  if (wanted < maximumPositions) return;
  throw new TunesmithError("config", {
    where: "method.virtualTokens",
    rule: `leaves room for a text in the model's context of ${maximumPositions} tokens`,
    seen: String(wanted),
    fix: "use fewer; 10 to 100 are usual",
  });
}

/** PEFT's keys that follow from the model, and those of `layout`. */
export function promptConfig(
  layout: PeftLayout,
  options: Readonly<Record<string, unknown>>,
  model: ModelDescription,
  { width, heads }: { readonly width: number; readonly heads: number },
): JsonObject {
  return {
    ...toPeftConfig(layout, options, model, []),
    token_dim: width,
    num_attention_heads: heads,
    num_layers: model.dimensions.layers,
  };
}

/** Of every such configuration: one prompt for one stack of layers, nothing trained beside it. */
export const ONLY_PROMPT = { num_transformer_submodules: 1, modules_to_save: null } as const;

/** @param name as PEFT's encoder has it, `mlp_head.0` */
export const denseLayer = (name: string, inputs: number, outputs: number): DenseLayer => ({
  weight: uniformSpec(encoderKey(`${name}.weight`), [outputs, inputs], inputs),
  bias: uniformSpec(encoderKey(`${name}.bias`), [outputs], inputs),
});

/** The key of an encoder's tensor: PEFT's own without the adapter's name. */
export const encoderKey = (name: string): string => `prompt_encoder.${name}`;

/** Parameters as they are, as tensors of a file. */
export const asTensors = (
  specs: readonly ParameterSpec[],
  values: ParameterValues,
): AdapterTensors =>
  new Map(specs.map((spec) => [spec.key, { shape: spec.shape, data: values(spec) }]));
