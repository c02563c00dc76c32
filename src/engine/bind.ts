// Finding the value for each input of a kernel.

import type { Value } from "../runtime/kernel.ts";
import { dropoutMask } from "./dropout.ts";
import type { ParameterSet } from "./parameters.ts";
import type { Binding, SharedName } from "./trace.ts";
import type { WeightStore } from "./weights/weights.ts";

/** What a run of the model brings beside weights and parameters. */
export interface RunValues {
  readonly shared?: Readonly<Partial<Record<SharedName, Value>>>;
  /** Seeds dropout. */
  readonly seed?: number | undefined;
}

export type Bind = (binding: Binding, slot: number, run: RunValues) => Value;

/** `slot` is the input's place in its kernel, where a 16-bit weight is widened to. */
export function createBind(weights: WeightStore, parameters: ParameterSet): Bind {
  return (binding, slot, run) => {
    switch (binding.kind) {
      case "weight":
        return weights.value(binding.name, slot);
      case "integers":
        return weights.integers(binding.name)![binding.part];
      case "blocks":
        return weights.blocks(binding.name)!.parts[binding.part]!;
      case "parameter":
        return parameters.value(binding.spec);
      case "shared":
        return run.shared![binding.name]!;
      case "dropout":
        return dropoutMask(run.seed ?? 0, binding.site, binding.probability, binding.shape);
    }
  };
}
