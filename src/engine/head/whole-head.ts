// The head where the output module is more than a matrix: a method changes it, it has a bias, or its
// logits are bent, its matrix is in blocks, or it is a classifier's. All columns of the logits are made at once, and the gradient is the graph's own.
// Slower than `head.ts`, which knows what the output module is, and right for whatever is made of it.

import type { BoundMethod } from "../../methods/index.ts";
import { type BoundArchitecture, capped } from "../../models/index.ts";
import type { Runtime } from "../../runtime/kernel.ts";
import { broadcast, constant, gradient, input, multiply, type Tensor } from "../../tensor/index.ts";
import { heldBy } from "../held-weights.ts";
import { createTracer, type TracedModel } from "../trace.ts";
import type { WeightStore } from "../weights/weights.ts";
import type { Head, HeadFeed, HeadOptions } from "./head.ts";
import { crossEntropy, VALUE_LOSSES } from "./row-losses.ts";

/** Whether the output module is more than a matrix. */
export function isHeadWhole(
  method: BoundMethod | undefined,
  { outputPath, outputName, logitShape, weights, classifier }: BoundArchitecture,
  stored: Pick<WeightStore, "blocks">,
): boolean {
  const isAdapted = method?.linear !== undefined && method.adapted?.includes(outputPath) === true;
  const hasBias = weights.some(({ name }) => name === `${outputPath}.bias`);
  const isInBlocks = stored.blocks(outputName) !== undefined;
  return (
    classifier !== undefined || isAdapted || hasBias || isInBlocks || logitShape.cap !== undefined
  );
}

/**
 * See `compileHead`; outputs are the same, but that a trained output matrix is among `trained`, and that
 * of a classifier "loss" makes the logits besides.
 */
export async function compileWholeHead(
  runtime: Runtime,
  model: TracedModel & { readonly architecture: BoundArchitecture },
  { rows, gradients }: HeadOptions,
): Promise<Head> {
  const { architecture } = model;
  const { logitCount, classifier } = architecture;
  const { hiddenSize } = architecture.dimensions;
  const training = typeof gradients === "object";
  const shape = { batch: 1, sequence: rows, maskBatch: 1, training };
  const tracer = createTracer(model, shape);
  const x = input("x", [rows, hiddenSize]);
  const states = tracer.output(architecture.finalNorm(x, tracer.scope));
  const products = tracer.scope.linear(architecture.outputPath, states);
  const logits = capped(products, architecture.logitShape.cap);
  const feeds = new Map<Tensor, HeadFeed>([[x, { kind: "x" }]]);
  const finish = async (outputs: readonly Tensor[], trained: Head["trained"] = []) => {
    for (const [tensor, binding] of tracer.bindings) feeds.set(tensor, binding);
    const held = heldBy(feeds, model.weights);
    const kernel = await runtime.compile(outputs, [...feeds.keys()], held);
    const blocks = [[0, logitCount]] as const;
    return { step: { kernel, feeds: [...feeds.values()] }, trained, blocks };
  };
  if (gradients === "logits") return finish([logits]);

  const lossWeights = input("lossWeights", [rows, 1]);
  feeds.set(lossWeights, { kind: "lossWeights" });
  const rowLosses = (): Tensor => {
    const problem = classifier?.problem ?? "single_label_classification";
    if (problem === "single_label_classification") {
      const columns = input("targetColumns", [rows], "int64");
      feeds.set(columns, { kind: "targetColumns" });
      return crossEntropy(logits, columns);
    }
    const values = input("targetValues", logits.shape);
    feeds.set(values, { kind: "targetValues" });
    return VALUE_LOSSES[problem](logits, values);
  };
  const losses = multiply(lossWeights, rowLosses());
  if (!training) return finish(classifier ? [losses, logits] : [losses]);

  const parameters = tracer.parameterInputs();
  const wanted = [...(gradients.x ? [x] : []), ...parameters.values()];
  const found = gradient([[losses, broadcast(constant(1), losses.shape)]], wanted);
  return finish(
    [losses, ...found.map((value, i) => value ?? broadcast(constant(0), wanted[i]!.shape))],
    [...parameters.keys()],
  );
}
