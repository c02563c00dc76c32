// The head where the output module is more than a matrix: a method changes it, it has a bias, or its
// logits are bent, its matrix is in blocks. All columns of the logits are made at once, and the gradient is the graph's own.
// Slower than `head.ts`, which knows what the output module is, and right for whatever is made of it.

import type { BoundMethod } from "../../methods/index.ts";
import { type BoundArchitecture, capped } from "../../models/index.ts";
import type { Runtime } from "../../runtime/kernel.ts";
import {
  add,
  broadcast,
  constant,
  exp,
  gatherRows,
  gradient,
  input,
  log,
  maximum,
  multiply,
  reshape,
  stopGradient,
  subtract,
  sum,
  type Tensor,
} from "../../tensor/index.ts";
import { heldBy } from "../held-weights.ts";
import { createTracer, type TracedModel } from "../trace.ts";
import type { WeightStore } from "../weights/weights.ts";
import type { Head, HeadFeed, HeadOptions } from "./head.ts";

/** Whether the output module is more than a matrix. */
export function isHeadWhole(
  method: BoundMethod | undefined,
  { outputPath, outputName, logitShape, weights }: BoundArchitecture,
  stored: Pick<WeightStore, "blocks">,
): boolean {
  const isAdapted = method?.linear !== undefined && method.adapted?.includes(outputPath) === true;
  const hasBias = weights.some(({ name }) => name === `${outputPath}.bias`);
  const isInBlocks = stored.blocks(outputName) !== undefined;
  return isAdapted || hasBias || isInBlocks || logitShape.cap !== undefined;
}

/** See `compileHead`; outputs are the same, but that a trained output matrix is among `trained`. */
export async function compileWholeHead(
  runtime: Runtime,
  model: TracedModel,
  { rows, gradients }: HeadOptions,
): Promise<Head> {
  const { architecture } = model;
  const { hiddenSize, vocabularySize } = architecture.dimensions;
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
    const blocks = [[0, vocabularySize]] as const;
    return { step: { kernel, feeds: [...feeds.values()] }, trained, blocks };
  };
  if (gradients === "logits") return finish([logits]);

  const targetColumns = input("targetColumns", [rows], "int64");
  const lossWeights = input("lossWeights", [rows, 1]);
  feeds.set(targetColumns, { kind: "targetColumns" }).set(lossWeights, { kind: "lossWeights" });
  const target = gatherRows(reshape(logits, [rows * vocabularySize, 1]), targetColumns);
  const largest = stopGradient(maximum(logits, [1]));
  const total = sum(exp(subtract(logits, largest)), [1]);
  const losses = multiply(lossWeights, subtract(add(log(total), largest), target));
  if (!training) return finish([losses]);

  const parameters = tracer.parameterInputs();
  const wanted = [...(gradients.x ? [x] : []), ...parameters.values()];
  const found = gradient([[losses, broadcast(constant(1), losses.shape)]], wanted);
  return finish(
    [losses, ...found.map((value, i) => value ?? broadcast(constant(0), wanted[i]!.shape))],
    [...parameters.keys()],
  );
}
