// The logits behind the last states, made by whatever head the method leaves the model with.

import type { Value } from "../../runtime/kernel.ts";
import { floats } from "../../runtime/values.ts";
import { compileWholeHead, type WholeHead } from "../head/whole-head.ts";
import type { Binding } from "../trace.ts";
import type { DecodableModel } from "./decoder-contract.ts";

/** Logits [rows, vocabulary] of states [rows, hidden]; overwritten by the next call for so many rows. */
export type DecoderHead = (states: Value) => Promise<Float32Array>;

/** Heads by the number of rows, with memory for their logits. */
export type CompiledHeads = Map<
  number,
  { readonly head: Promise<WholeHead>; readonly all: Float32Array }
>;

/** @param heads those of the model's method, whatever the values of its parameters */
export function createDecoderHead(
  model: DecodableModel,
  bind: (binding: Binding, slot: number) => Value,
  heads: CompiledHeads,
): DecoderHead {
  const { architecture, runtime } = model;
  const { vocabularySize } = architecture.dimensions;

  const headFor = (rows: number) => {
    const found = heads.get(rows) ?? {
      head: compileWholeHead(runtime, model, { rows, make: "logits" }),
      all: new Float32Array(rows * vocabularySize),
    };
    heads.set(rows, found);
    return found;
  };

  return async (states) => {
    const rows = states.dims[0]!;
    const { head, all } = headFor(rows);
    const { step } = await head;
    const inputs = step.feeds.map((feed, slot) => {
      switch (feed.kind) {
        case "x":
          return states;
        case "targetColumns":
        case "targetValues":
        case "lossWeights":
          throw new Error(`logits do not depend on ${feed.kind}`);
        default:
          return bind(feed, slot);
      }
    });
    await step.kernel.run(inputs, [floats(all, [rows, vocabularySize])]);
    return all;
  };
}
