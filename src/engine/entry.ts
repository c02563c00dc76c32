// From token ids to the first block's input and back: the embedding, and what a method puts in front
// of the tokens or does to them.

import type { BoundMethod } from "../methods/index.ts";
import type { BoundArchitecture } from "../models/index.ts";
import type { Value } from "../runtime/kernel.ts";
import { type BufferPool, floatData } from "../runtime/values.ts";
import type { RunValues } from "./bind.ts";
import { embedTokens } from "./embedding.ts";
import type { ParameterSet } from "./parameters.ts";
import type { Passed, Passes } from "./passes.ts";
import { scatterAddRows } from "./rows.ts";
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
  /** What the method and then the architecture did to embedded tokens. */
  readonly steps: readonly Passed[];
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
  const { hiddenSize, embeddingScale } = architecture.dimensions;
  const embedding = method?.replaces.get(architecture.embeddingName);

  const lookUp = (ids: readonly number[]): Value => {
    const x = pool.take([ids.length, hiddenSize]);
    const trained = embedding && parameters.parameter(embedding).data;
    embedTokens(architecture, weights, ids, floatData(x), trained);
    return x;
  };

  const throughSteps = async (
    steps: readonly Passed[],
    arrived: Value | undefined,
    run: RunValues,
  ) => {
    let gradient = arrived;
    for (const step of steps.toReversed()) gradient = await passes.backward(step, gradient, run);
    return gradient;
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
      const steps: Passed[] = [];
      for (const part of ["embed", "enter"] as const) {
        if (!(part === "embed" ? method?.embed : architecture.enter)) continue;
        const given = steps.at(-1)?.y ?? x;
        const rows = tokenIds.length;
        const passed = await passes.forward(
          { layer: 0, part, shape, rows, gradients, ofInput: isTrained },
          given,
          run,
        );
        isTrained ||= gradients && passed.segment.trained.length > 0;
        if (!gradients) passes.forget(passed);
        steps.push(passed);
      }
      return { x: steps.at(-1)?.y ?? x, isTrained, tokenIds, shape, virtualTokens, steps };
    },

    async leave({ tokenIds, shape, virtualTokens, steps }, arrived, run) {
      const gradient = await throughSteps(steps, arrived, run);
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
        scatterAddRows(floatData(gradient), tokenIds, hiddenSize, target, embeddingScale);
      }
      pool.give(gradient);
    },
  };
}
