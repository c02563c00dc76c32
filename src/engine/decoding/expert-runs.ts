// Experts while texts are continued: the same pieces as in training, forward alone.

import type { Value } from "../../runtime/kernel.ts";
import { createBufferPool, floatData } from "../../runtime/values.ts";
import { createBind } from "../bind.ts";
import { createExpertPasses } from "../experts/expert-passes.ts";
import { createPasses } from "../passes.ts";
import type { TraceShape } from "../trace.ts";
import type { DecodableModel } from "./decoder-contract.ts";

/**
 * Writes the states [rows, hidden] behind a layer's experts to `target`, from what `enterExperts` made.
 */
export type ExpertRuns = (
  layer: number,
  shape: TraceShape,
  entered: Value,
  target: Value,
) => Promise<void>;

/** @param counts how many experts each layer has */
export function createExpertRuns(
  { architecture, method, weights, parameterSet: parameters, runtime }: DecodableModel,
  counts: readonly number[],
): ExpertRuns {
  const pool = createBufferPool();
  const bind = createBind(weights, parameters);
  const own = { architecture, method, weights, parameters, runtime, pool, bind } as const;
  const parts = { ...own, memory: "lean" } as const;
  const { hiddenSize } = architecture.dimensions;
  const passes = createPasses(parts);
  const experts = createExpertPasses(passes, pool, hiddenSize, (layer) => counts[layer]!);
  return async (layer, shape, entered, target) => {
    const request = {
      layer,
      part: "toExperts",
      shape,
      rows: entered.dims[0]!,
      gradients: false,
      ofInput: false,
    } as const;
    const passed = await experts.forward(request, entered, false, {});
    floatData(target).set(floatData(passed.y));
    passed.forget();
    pool.give(passed.y);
  };
}
