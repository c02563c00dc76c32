// The logits behind the last states, made by whatever head the method leaves the model with.

import type { Value } from "../../runtime/kernel.ts";
import { floatData, floats } from "../../runtime/values.ts";
import { compileHead, HEAD_SHAPE, type Head, OUTPUT_SLOT } from "../head/head.ts";
import { compileWholeHead, isHeadWhole } from "../head/whole-head.ts";
import { type Binding, createTracer } from "../trace.ts";
import type { DecodableModel } from "./decoder-contract.ts";

/** Logits [rows, vocabulary] of states [rows, hidden]; overwritten by the next call for so many rows. */
export type DecoderHead = (states: Value) => Promise<Float32Array>;

/** Heads by the number of rows, with memory for their logits. */
export type CompiledHeads = Map<
  number,
  { readonly head: Promise<Head>; readonly all: Float32Array }
>;

/** @param heads those of the model's method, whatever the values of its parameters */
export function createDecoderHead(
  model: DecodableModel,
  bind: (binding: Binding, slot: number) => Value,
  heads: CompiledHeads,
): DecoderHead {
  const { architecture, method, weights, parameterSet: parameters, runtime } = model;
  const { hiddenSize, vocabularySize } = architecture.dimensions;
  const output = method?.replaces.get(`${architecture.outputPath}.weight`);
  const isWhole = isHeadWhole(method, architecture, weights);

  const outputMatrix = () =>
    floatData(
      output ? parameters.value(output) : weights.value(architecture.outputName, OUTPUT_SLOT),
    );

  const headFor = (rows: number) => {
    const wanted = { rows, gradients: "logits" } as const;
    const found = heads.get(rows) ?? {
      head: isWhole
        ? compileWholeHead(runtime, model, wanted)
        : compileHead(runtime, architecture, createTracer(model, HEAD_SHAPE), wanted),
      all: new Float32Array(rows * vocabularySize),
    };
    heads.set(rows, found);
    return found;
  };

  return async (states) => {
    const batch = states.dims[0]!;
    const { head, all } = headFor(batch);
    const { step, blocks } = await head;
    const matrix = isWhole ? new Float32Array(0) : outputMatrix();
    const inputs = step.feeds.map((feed, slot) => {
      switch (feed.kind) {
        case "x":
          return states;
        case "outputBlock":
          return floats(matrix.subarray(feed.start * hiddenSize, feed.end * hiddenSize), [
            feed.end - feed.start,
            hiddenSize,
          ]);
        case "targetRows":
        case "outputCodes":
        case "outputScales":
        case "targetColumns":
        case "targetValues":
        case "lossWeights":
          throw new Error(`logits do not depend on ${feed.kind}`);
        default:
          return bind(feed, slot);
      }
    });
    if (batch === 1) {
      // A single row's blocks lie behind one another: the kernel writes them in place.
      await step.kernel.run(
        inputs,
        blocks.map(([start, end]) => floats(all.subarray(start, end), [1, end - start])),
      );
      return all;
    }
    const results = await step.kernel.run(inputs);
    blocks.forEach(([start, end], i) => {
      const block = floatData(results[i]!);
      for (let row = 0; row < batch; row++)
        all.set(
          block.subarray(row * (end - start), (row + 1) * (end - start)),
          row * vocabularySize + start,
        );
    });
    return all;
  };
}
