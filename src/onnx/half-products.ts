// A graph whose products with weights are taken in 16-bit floating point, and all else as before: norms,
// scores and the residual stream are sums whose squares would leave the range of float16.

import { elementType, type OnnxConstant, type OnnxGraph, type OnnxNode } from "./proto.ts";

/** Operators that may read a weight in 16 bits, and how many of their inputs are numbers. */
const PRODUCTS: ReadonlyMap<string, number> = new Map([
  ["Gemm", 3],
  ["MatMulNBits", 3],
  ["Gather", 1],
  ["Reshape", 1],
]);

/** @param isWeight tells the constants that are kept in 16 bits where nothing else reads them */
export function withHalfProducts(graph: OnnxGraph, isWeight: (name: string) => boolean): OnnxGraph {
  const others = new Set(
    graph.nodes.flatMap(({ type, inputs }) => (PRODUCTS.has(type) ? [] : inputs)),
  );
  const types = new Map(graph.constants.map(({ name, type }) => [name, type]));
  const isHalved = (name: string) =>
    types.get(name) === "float32" && isWeight(name) && !others.has(name);
  const narrowed = new Set<string>();
  const cast = (from: string, to: string, type: "float16" | "float32"): OnnxNode => ({
    type: "Cast",
    inputs: [from],
    outputs: [to],
    attributes: { to: elementType(type) },
  });
  const nodes = graph.nodes.flatMap((node): OnnxNode[] => {
    const numbers = PRODUCTS.get(node.type) ?? 0;
    if (!node.inputs.slice(0, numbers).some(isHalved)) return [node];
    const before: OnnxNode[] = [];
    const inputs = node.inputs.map((name, i) => {
      if (i >= numbers || isHalved(name) || (types.get(name) ?? "float32") !== "float32")
        return name;
      if (!narrowed.has(name)) before.push(cast(name, `${name}_half`, "float16"));
      narrowed.add(name);
      return `${name}_half`;
    });
    const outputs = node.outputs.map((name) => `${name}_product`);
    return [
      ...before,
      { ...node, inputs, outputs },
      ...node.outputs.map((name, i) => cast(outputs[i]!, name, "float32")),
    ];
  });
  const constants = graph.constants.map(
    (constant): OnnxConstant =>
      isHalved(constant.name) ? { ...constant, type: "float16" } : constant,
  );
  return { ...graph, nodes, constants };
}
