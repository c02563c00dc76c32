// A graph as text: one line a tensor. The same text for the same graph, whatever its inputs are
// called, so that it also serves as the identity of a compiled graph.

import type { Shape, Tensor } from "./tensor.ts";
import { topologicalOrder } from "./traverse.ts";

/**
 * @param given tensors taken as inputs, in the order in which they are numbered
 * @param named whether inputs show their names (for people) or only their number (for identity)
 * @param sizesOf what is shown of a tensor's shape; default: all of it
 */
export function printGraph(
  outputs: readonly Tensor[],
  given: readonly Tensor[],
  {
    named = false,
    sizesOf = ({ shape }) => shape,
  }: { named?: boolean; sizesOf?: (tensor: Tensor) => Shape } = {},
): string {
  const describe = (tensor: Tensor) => `${tensor.dtype}[${sizesOf(tensor).join(",")}]`;
  const names = new Map<Tensor, string>();
  given.forEach((tensor, index) => {
    const label = named && tensor.operator === "input" ? tensor.attributes.name : `in${index}`;
    names.set(tensor, label);
  });
  const lines = given.map((tensor) => `${names.get(tensor)}: ${describe(tensor)}`);
  for (const tensor of topologicalOrder(outputs, new Set(given))) {
    if (names.has(tensor)) continue;
    names.set(tensor, `%${names.size}`);
    const inputs = tensor.inputs.map((source) => names.get(source)).join(", ");
    const attributes = Object.entries(tensor.attributes)
      .filter(([, value]) => typeof value !== "function" && !ArrayBuffer.isView(value))
      .map(([key, value]) => ` ${key}=${value}`)
      .join("");
    lines.push(
      `${names.get(tensor)} = ${tensor.operator}(${inputs})${attributes}: ${describe(tensor)}`,
    );
  }
  lines.push(`return ${outputs.map((output) => names.get(output)).join(", ")}`);
  return lines.join("\n");
}
