// From embedded tokens to what the first block is given: by the architecture, then by the method.

import type { BoundMethod } from "../methods/index.ts";
import type { BlockStack } from "../models/index.ts";
import type { Tensor } from "../tensor/index.ts";
import type { Tracer } from "./trace.ts";

/** That step on [batch · sequence, hidden]; undefined where there is nothing to do. */
export function blockEntry(
  { enter }: Pick<BlockStack, "enter">,
  method: BoundMethod | undefined,
): ((x: Tensor, tracer: Tracer) => Tensor) | undefined {
  const own = method?.enter;
  if (!enter && !own) return undefined;
  return (x, { scope, methodScope }) => {
    const entered = enter?.(x, scope) ?? x;
    return own?.(entered, methodScope) ?? entered;
  };
}
