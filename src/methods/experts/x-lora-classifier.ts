// X-LoRA's classifier: linear layers with ReLU between them, on the last states of the first pass.
// Shapes and names are those of PEFT's `XLoraClassifier`.

import { add, linear, relu, slice, type Tensor } from "../../tensor/index.ts";
import type { MethodScope } from "../method.ts";
import { type DenseLayer, dense } from "../parts/dense-layer.ts";
import { uniformSpec } from "../parts/initial-values.ts";
import type { XLoraSettings } from "./x-lora-options.ts";

export interface XLoraClassifier {
  /** The last one has a row for each adapter, or for each adapter of each adapted layer. */
  readonly layers: readonly DenseLayer[];
  readonly adapters: number;
  readonly dropout: number;
  readonly layerwise: boolean;
}

/** @param adapted how many layers of the model have adapters */
export function xLoraClassifier(
  { depth, size, dropout, layerwise, adapters }: XLoraSettings,
  hiddenSize: number,
  adapted: number,
): XLoraClassifier {
  // In PEFT's file the modules are counted, and an activation is one; so is dropout that there is.
  const step = dropout > 0 ? 3 : 2;
  const layers = Array.from({ length: depth }, (_, i): DenseLayer => {
    const inputs = i === 0 ? hiddenSize : size;
    const outputs = i < depth - 1 ? size : adapters.length * (layerwise ? adapted : 1);
    const key = `base_model.internal_xlora_classifier.layers.${i * step}`;
    return {
      weight: uniformSpec(`${key}.weight`, [outputs, inputs], inputs),
      bias: uniformSpec(`${key}.bias`, [outputs], inputs),
    };
  });
  return { layers, adapters: adapters.length, dropout, layerwise };
}

/**
 * All of the classifier but its last layer, which all layers of the model share: [rows, size].
 * @param states [rows, hidden]
 */
export const innerStates = (
  { layers, dropout }: XLoraClassifier,
  states: Tensor,
  scope: MethodScope,
): Tensor =>
  layers
    .slice(0, -1)
    .reduce(
      (x, each, i) => scope.dropout(relu(dense(x, each, scope)), dropout, `classifier ${i}`),
      states,
    );

/**
 * What the classifier says of each adapter at a layer, [rows, adapters].
 * @param inner its `innerStates`
 */
export function classify(
  { layers, adapters, layerwise }: XLoraClassifier,
  inner: Tensor,
  layer: number,
  scope: MethodScope,
): Tensor {
  const last = layers.at(-1)!;
  if (!layerwise) return dense(inner, last, scope);
  const own = (x: Tensor) => slice(x, 0, layer * adapters, (layer + 1) * adapters);
  return add(linear(inner, own(scope.parameter(last.weight))), own(scope.parameter(last.bias)));
}
