// What every operator function is made of: the node itself, the fault that a misfit is told with, and
// the rule by which shapes broadcast.

import { TunesmithError } from "../errors.ts";
import type { DType, OperatorName, Shape, Tensor, TensorOf } from "./tensor.ts";

/** A node of the graph; float32 unless told otherwise. */
export function node<O extends OperatorName>(
  operator: O,
  inputs: readonly Tensor[],
  shape: Shape,
  attributes: TensorOf<O>["attributes"],
  dtype: DType = "float32",
): Tensor {
  return { operator, inputs, attributes, shape, dtype } as Tensor;
}

/** What is thrown where inputs do not fit an operator. */
export function shapeFault(
  operator: string,
  rule: string,
  inputs: readonly Tensor[],
): TunesmithError {
  return new TunesmithError("shape", {
    where: `operator ${operator}`,
    rule,
    seen: inputs.map((input) => `[${input.shape.join(", ")}]`).join(" and "),
    fix: "check the shapes of the weights against the model's config",
  });
}

/** The shape two operands broadcast to, by NumPy's rule; undefined if they do not. */
export function broadcastShape(a: Shape, b: Shape): Shape | undefined {
  const rank = Math.max(a.length, b.length);
  const result: number[] = [];
  for (let axis = 0; axis < rank; axis++) {
    const left = a[a.length - rank + axis] ?? 1;
    const right = b[b.length - rank + axis] ?? 1;
    if (left !== right && left !== 1 && right !== 1) return undefined;
    result.push(left === 1 ? right : left);
  }
  return result;
}
