// Running a layer, or its second half, forward and back: as one segment, or in pieces where rows are
// sent to experts.

import type { BoundMethod } from "../methods/index.ts";
import type { BlockStack } from "../models/index.ts";
import type { Value } from "../runtime/kernel.ts";
import type { BufferPool } from "../runtime/values.ts";
import type { RunValues } from "./bind.ts";
import { createExpertPasses } from "./experts/expert-passes.ts";
import type { Part, Passed, Passes, SegmentRequest, StatisticGradients } from "./passes.ts";

/** A layer that was run forward. */
export interface BlockPassed {
  readonly y: Value;
  /** Whether anything trained has a part in y. */
  readonly isTrained: boolean;
  /** The segments that hooks report from. */
  readonly reported: readonly Passed[];
  /** See `Passes.backward`. */
  backward(
    outputGradient: Value | undefined,
    run: RunValues,
    ofStatistics?: StatisticGradients,
  ): Promise<Value | undefined>;
  /** Lets go of what forward left, but for y. */
  forget(): void;
}

export interface Blocks {
  /** `request.ofInput` tells whether anything trained has a part in x. */
  forward(request: SegmentRequest, x: Value, run: RunValues): Promise<BlockPassed>;
}

export interface BlocksOptions {
  readonly architecture: BlockStack;
  readonly method: BoundMethod | undefined;
  readonly passes: Passes;
  readonly pool: BufferPool;
}

/** The part in whose place a layer with experts has pieces. */
const TO_EXPERTS: Partial<Record<Part, Part>> = {
  block: "blockToExperts",
  feedForward: "toExperts",
};

export function createBlocks({ architecture, method, passes, pool }: BlocksOptions): Blocks {
  const { hiddenSize } = architecture.dimensions;
  const counts = expertCounts(architecture, method);
  const experts = createExpertPasses(passes, pool, hiddenSize, (layer) => counts[layer]!);

  return {
    async forward(request, x, run) {
      const toExperts = counts[request.layer]! > 0 ? TO_EXPERTS[request.part] : undefined;
      const passed = await passes.forward(
        toExperts ? { ...request, part: toExperts } : request,
        x,
        run,
      );
      const isTrained = request.ofInput || (request.gradients && passed.segment.trained.length > 0);
      if (!toExperts)
        return {
          y: passed.y,
          isTrained,
          reported: [passed],
          backward: (gradient, own, ofStatistics) =>
            passes.backward(passed, gradient, own, ofStatistics),
          forget: () => passes.forget(passed),
        };
      const rest = await experts.forward(request, passed.y, isTrained, run);
      pool.give(passed.y);
      return {
        y: rest.y,
        isTrained: rest.isTrained,
        reported: [passed, rest.joined],
        async backward(gradient, own, ofStatistics) {
          const ofEntered = await rest.backward(gradient, own, ofStatistics);
          return passes.backward(passed, ofEntered, own, ofStatistics);
        },
        forget() {
          rest.forget();
          passes.forget(passed);
        },
      };
    },
  };
}

/**
 * How many experts each layer runs on their own rows. None where hooks change experts and read whole
 * rows, or report to a loss: then all experts see all rows, in one graph.
 */
export function expertCounts(architecture: BlockStack, method: BoundMethod | undefined): number[] {
  return architecture.blocks.map(({ experts }, layer) => {
    const isAdapted = method?.adapted?.some((path) => path.startsWith(`${experts}.`)) === true;
    if (isAdapted && (method?.readsWholeRows || method?.auxiliaryLoss)) return 0;
    return architecture.sparse(layer)?.count ?? 0;
  });
}
