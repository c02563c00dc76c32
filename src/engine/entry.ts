// From token ids to the first block's input and back: the embedding, and what a method puts in front
// of the tokens or does to them.

import type { BoundMethod } from "../methods/index.ts";
import type { BoundArchitecture } from "../models/index.ts";
import type { Value } from "../runtime/kernel.ts";
import { type BufferPool, floatData } from "../runtime/values.ts";
import type { RunValues } from "./bind.ts";
import type { ParameterSet } from "./parameters.ts";
import type { Passed, Passes } from "./passes.ts";
import { gatherRows, scatterAddRows } from "./rows.ts";
import type { TraceShape } from "./trace.ts";
import { putVirtualStates, takeVirtualGradients } from "./virtual-tokens.ts";
import type { WeightStore } from "./weights/weights.ts";

/** What `enter` left for `leave`. */
export interface Entered {
  /** [batch · seq, hidden] */
  readonly x: Value;
  /** Whether anything trained has a part in x. */
  readonly isTrained: boolean;
  readonly tokenIds: readonly number[];
  readonly shape: TraceShape;
  readonly virtualTokens?: Passed;
  readonly embed?: Passed;
}

export interface Entry {
  enter(tokenIds: readonly number[], shape: TraceShape, run: RunValues): Promise<Entered>;
  /** Adds the gradients of what made x, from that of x; both are let go of. */
  leave(entered: Entered, gradient: Value | undefined, run: RunValues): Promise<void>;
}

export interface EntryOptions {
  readonly architecture: BoundArchitecture;
  readonly method: BoundMethod | undefined;
  readonly weights: WeightStore;
  readonly parameters: ParameterSet;
  readonly pool: BufferPool;
  readonly passes: Passes;
}

export function createEntry(options: EntryOptions): Entry {
  const { architecture, method, weights, parameters, pool, passes } = options;
  const { hiddenSize } = architecture.dimensions;
  const embedding = method?.replaces.get(architecture.embeddingName);

  const lookUp = (ids: readonly number[]): Value => {
    const x = pool.take([ids.length, hiddenSize]);
    if (embedding) gatherRows(parameters.parameter(embedding).data, ids, hiddenSize, floatData(x));
    else weights.readRows(architecture.embeddingName, ids, floatData(x));
    return x;
  };

  return {
    async enter(tokenIds, shape, run) {
      const x = lookUp(tokenIds);
      const { training: gradients } = shape;
      let isTrained = gradients && embedding !== undefined;
      let virtualTokens: Passed | undefined;
      if (method?.virtualTokens) {
        // Their states depend on parameters alone; the input is there because a segment has one.
        virtualTokens = await passes.forward(
          { layer: 0, part: "virtualTokens", shape, rows: 1, gradients, ofInput: false },
          pool.take([1, hiddenSize]),
          run,
        );
        const { y, segment } = virtualTokens;
        putVirtualStates(floatData(x), floatData(y), shape.batch, shape.sequence * hiddenSize);
        pool.give(y);
        isTrained ||= gradients && segment.trained.length > 0;
        if (!gradients) passes.forget(virtualTokens);
      }
      if (!method?.embed) return { x, isTrained, tokenIds, shape, virtualTokens };
      const embed = await passes.forward(
        { layer: 0, part: "embed", shape, rows: tokenIds.length, gradients, ofInput: isTrained },
        x,
        run,
      );
      isTrained ||= gradients && embed.segment.trained.length > 0;
      if (!gradients) passes.forget(embed);
      return { x: embed.y, isTrained, tokenIds, shape, virtualTokens, embed };
    },

    async leave({ tokenIds, shape, virtualTokens, embed }, arrived, run) {
      const gradient = embed ? await passes.backward(embed, arrived, run) : arrived;
      if (virtualTokens) {
        const ofStates = gradient && pool.take(virtualTokens.segment.outputShape);
        if (ofStates)
          takeVirtualGradients(
            floatData(gradient),
            floatData(ofStates),
            shape.batch,
            shape.sequence * hiddenSize,
          );
        await passes.backward(virtualTokens, ofStates, run);
      }
      if (!gradient) return;
      if (embedding) {
        const target = parameters.parameter(embedding).gradient;
        scatterAddRows(floatData(gradient), tokenIds, hiddenSize, target);
      }
      pool.give(gradient);
    },
  };
}
