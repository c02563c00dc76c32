// The head as one graph: all columns of the logits are made at once, and the gradient is the graph's own. For
// logits, and for losses where the output module is more than a matrix: a method changes it, it has a bias, its
// logits are bent, its matrix is quantised, or it is a classifier's. Slower than `matrix-head.ts`, which
// knows what the output module is, and right for whatever is made of it.

import type { ParameterSpec } from "../../methods/index.ts";
import { type BoundArchitecture, capped } from "../../models/index.ts";
import type { Kernel, Runtime } from "../../runtime/kernel.ts";
import { broadcast, constant, gradient, input, multiply, type Tensor } from "../../tensor/index.ts";
import { heldBy } from "../held-weights.ts";
import { type Binding, createTracer, type TracedModel } from "../trace.ts";
import { crossEntropy, VALUE_LOSSES } from "./row-losses.ts";

/** What an input is. */
export type WholeHeadFeed =
  | { readonly kind: "x" | "targetColumns" | "targetValues" | "lossWeights" }
  | Binding;

export interface WholeHeadOptions {
  readonly rows: number;
  /** Which outputs to make, see `WholeHead`; `x` tells whether the states' gradient is wanted. */
  readonly make: "logits" | "loss" | { readonly x: boolean };
}

/**
 * Outputs in order.
 * "logits": [rows, logits].
 * "loss": losses [rows, 1], times their weights; a classifier's logits besides.
 * gradients: losses, the gradient of x (where wanted), those of what is trained.
 */
export interface WholeHead {
  readonly step: { readonly kernel: Kernel; readonly feeds: readonly WholeHeadFeed[] };
  readonly trained: readonly ParameterSpec[];
}

/** The graph of the head for so many rows. */
export async function compileWholeHead(
  runtime: Runtime,
  model: TracedModel & { readonly architecture: BoundArchitecture },
  { rows, make }: WholeHeadOptions,
): Promise<WholeHead> {
  const { architecture } = model;
  const { classifier } = architecture;
  const { hiddenSize } = architecture.dimensions;
  const training = typeof make === "object";
  const shape = { batch: 1, sequence: rows, maskBatch: 1, training };
  const tracer = createTracer(model, shape);
  const x = input("x", [rows, hiddenSize]);
  const states = tracer.output(architecture.finalNorm(x, tracer.scope));
  const products = tracer.scope.linear(architecture.outputPath, states);
  const logits = capped(products, architecture.logitShape.cap);
  const feeds = new Map<Tensor, WholeHeadFeed>([[x, { kind: "x" }]]);
  const finish = async (outputs: readonly Tensor[], trained: WholeHead["trained"] = []) => {
    for (const [tensor, binding] of tracer.bindings) feeds.set(tensor, binding);
    const held = heldBy(feeds, model.weights);
    const kernel = await runtime.compile(outputs, [...feeds.keys()], held);
    return { step: { kernel, feeds: [...feeds.values()] }, trained };
  };
  if (make === "logits") return finish([logits]);

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
  const wanted = [...(make.x ? [x] : []), ...parameters.values()];
  const found = gradient([[losses, broadcast(constant(1), losses.shape)]], wanted);
  return finish(
    [losses, ...found.map((value, i) => value ?? broadcast(constant(0), wanted[i]!.shape))],
    [...parameters.keys()],
  );
}
