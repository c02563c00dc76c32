// From token ids to the first block's input and back: the embedding, the rows of images, and what a method
// puts in front of the tokens or does to them.

import type { BoundMethod } from "../methods/index.ts";
import type { BoundArchitecture } from "../models/index.ts";
import type { Value } from "../runtime/kernel.ts";
import { type BufferPool, floatData } from "../runtime/values.ts";
import type { RunValues } from "./bind.ts";
import { embedTokens } from "./embedding.ts";
import { blockEntry } from "./enter-blocks.ts";
import { putImageStates, takeImageGradients } from "./image-rows.ts";
import type { ImageStates } from "./images.ts";
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
  /** What the method did to embedded tokens. */
  readonly embedded?: Passed;
  readonly images?: ImageStates;
  /** What architecture and method did to tokens and images. */
  readonly entered?: Passed;
}

export interface Entry {
  /** @param images what stands in the place of the image tokens */
  enter(
    tokenIds: readonly number[],
    shape: TraceShape,
    run: RunValues,
    images?: ImageStates,
  ): Promise<Entered>;
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
  const imageToken = architecture.images?.token;
  const entersBlocks = blockEntry(architecture, method);

  const lookUp = (ids: readonly number[]): Value => {
    const x = pool.take([ids.length, hiddenSize]);
    const trained = embedding && parameters.parameter(embedding).data;
    embedTokens(architecture, weights, ids, floatData(x), trained);
    return x;
  };

  return {
    async enter(tokenIds, shape, run, images) {
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
      const step = async (part: "embed" | "enter", given: Value) => {
        const rows = tokenIds.length;
        const passed = await passes.forward(
          { layer: 0, part, shape, rows, gradients, ofInput: isTrained },
          given,
          run,
        );
        isTrained ||= gradients && passed.segment.trained.length > 0;
        if (!gradients) passes.forget(passed);
        return passed;
      };
      const embedded = method?.embed && (await step("embed", x));
      const states = embedded?.y ?? x;
      if (images) putImageStates(floatData(states), images.states, tokenIds, imageToken);
      isTrained ||= images?.isTrained === true;
      const entered = entersBlocks && (await step("enter", states));
      const y = entered?.y ?? states;
      return { x: y, isTrained, tokenIds, shape, virtualTokens, embedded, images, entered };
    },

    async leave(left, arrived, run) {
      const { tokenIds, shape, virtualTokens, embedded, images, entered } = left;
      let gradient = arrived;
      if (entered) gradient = await passes.backward(entered, gradient, run);
      if (images && gradient) {
        const ofImages = new Float32Array(images.states.length);
        takeImageGradients(floatData(gradient), ofImages, tokenIds, imageToken);
        if (images.isTrained) await images.backward(ofImages);
      }
      if (embedded) gradient = await passes.backward(embedded, gradient, run);
      if (virtualTokens) {
        const ofStates = gradient && pool.take(virtualTokens.segment.outputShape);
        if (ofStates && gradient)
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
