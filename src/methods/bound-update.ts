// Methods that change linear modules, each for itself: a method says what it does to one of them, and
// this binds it to a model.

import type { Tensor } from "../tensor/index.ts";
import type { AdaptedModules } from "./adapted-modules.ts";
import type {
  BoundMethod,
  MethodScope,
  ParameterSpec,
  ParameterValues,
  RankUse,
  SavedAdapter,
} from "./method.ts";
import type { LinearModule } from "./targets.ts";

/** What a method does to one module. */
export interface ModuleUpdate {
  /** What it computes with; what modules share is in the list of each. */
  readonly parameters: readonly ParameterSpec[];
  /** As in `BoundMethod`. */
  readonly ranks?: readonly RankUse[];
  /** The new output [rows, out] of x [rows, in]; `base` is the module as it was, bias included. */
  readonly apply: (x: Tensor, base: (x: Tensor) => Tensor, scope: MethodScope) => Tensor;
  /** The same done to the weight [out, in], in place. */
  readonly mergeWeight?: (weight: Float32Array, values: ParameterValues) => void;
  /** What it does to the bias [out], if anything. */
  readonly mergeBias?: (bias: Float32Array, values: ParameterValues) => void;
  /** As in `BoundMethod`: one module is enough. */
  readonly unmergeable?: string | undefined;
}

/** The method that does to each of `modules` what `updateOf` says, and trains `replaces` besides. */
export function boundUpdate<Module extends LinearModule>(
  name: string,
  { modules, replaces }: AdaptedModules<Module>,
  updateOf: (module: Module) => ModuleUpdate,
  saved: SavedAdapter,
): BoundMethod {
  const updates = new Map(modules.map((module) => [module.path, updateOf(module)]));
  const all = [...updates.values()];
  const parameters = [...all.flatMap((update) => update.parameters), ...replaces.values()];
  const unmergeable = all.find((update) => update.unmergeable)?.unmergeable;
  return {
    name,
    adapted: [...updates.keys()],
    ranks: all.flatMap(({ ranks = [] }) => ranks),
    parameters: [...new Map(parameters.map((spec) => [spec.key, spec])).values()],
    replaces,
    linear: (path, x, base, scope) => updates.get(path)?.apply(x, base, scope) ?? base(x),
    ...(unmergeable === undefined
      ? {
          mergeInto(use, data, values) {
            const [, path = "", kind] = /^(.+)\.(weight|bias)$/.exec(use) ?? [];
            const update = updates.get(path);
            if (kind === "weight") update?.mergeWeight?.(data, values);
            if (kind === "bias") update?.mergeBias?.(data, values);
          },
        }
      : { unmergeable }),
    saved,
  };
}
