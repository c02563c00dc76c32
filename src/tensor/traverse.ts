// Walking a graph from its outputs down to its inputs.

import type { Tensor } from "./tensor.ts";

/**
 * All tensors that `outputs` depend on, each after its inputs, in an order fixed by the graph alone.
 * @param stopAt tensors taken as given: listed, but not entered
 */
export function topologicalOrder(
  outputs: readonly Tensor[],
  stopAt: ReadonlySet<Tensor> = new Set(),
): Tensor[] {
  const order: Tensor[] = [];
  const seen = new Set<Tensor>();
  // An explicit stack, for graphs deeper than the call stack.
  const stack: { tensor: Tensor; next: number }[] = [];
  const visit = (tensor: Tensor) => {
    if (!seen.has(tensor)) {
      seen.add(tensor);
      stack.push({ tensor, next: 0 });
    }
  };
  for (const output of outputs) {
    visit(output);
    while (stack.length > 0) {
      const frame = stack[stack.length - 1]!;
      const source = stopAt.has(frame.tensor) ? undefined : frame.tensor.inputs[frame.next++];
      if (source) visit(source);
      else {
        order.push(frame.tensor);
        stack.pop();
      }
    }
  }
  return order;
}
