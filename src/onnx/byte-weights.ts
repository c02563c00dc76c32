// A graph whose weights are whole numbers of 8 bits with a scale a row, and whose products are of float32: a
// session computes once, when it is made, what depends on constants alone, so the weights become numbers
// there. WebAssembly has no kernels for products of weights in blocks, which take ten times as long.

import { elementType, type OnnxConstant, type OnnxGraph, type OnnxNode } from "./proto.ts";

/** What a weight [rows, columns] becomes: `codes` int8 [rows, columns], `scales` float32 [rows, 1]. */
export interface BytePart {
  readonly weight: string;
  readonly part: "codes" | "scales";
}

/**
 * @param isRounded tells the weights: matrices that products read transposed, and tables of rows
 * @returns the graph, and of its new constants, which have no bytes yet, what they hold
 */
export function withByteWeights(
  graph: OnnxGraph,
  isRounded: (name: string) => boolean,
): { readonly graph: OnnxGraph; readonly parts: ReadonlyMap<string, BytePart> } {
  const parts = new Map<string, BytePart>();
  const widened = new Set<string>();
  const node = (type: string, inputs: readonly string[], output: string): OnnxNode => ({
    type,
    inputs,
    outputs: [output],
  });
  const widen = (from: string, to: string): OnnxNode => ({
    ...node("Cast", [from], to),
    attributes: { to: elementType("float32") },
  });

  function gathered({ inputs, outputs }: OnnxNode): OnnxNode[] {
    const [table, ids] = inputs as [string, string];
    const [rows] = outputs as [string];
    return [
      node("Gather", [`${table}.codes`, ids], `${rows}_codes`),
      widen(`${rows}_codes`, `${rows}_levels`),
      node("Gather", [`${table}.scales`, ids], `${rows}_scales`),
      node("Mul", [`${rows}_levels`, `${rows}_scales`], rows),
    ];
  }

  function multiplied(gemm: OnnxNode): OnnxNode[] {
    const [x, weight, addend] = gemm.inputs as [string, string, string?];
    const [y] = gemm.outputs as [string];
    const [numbers, columns] = [`${weight}.numbers`, `${weight}.column_scales`];
    const before = widened.has(weight)
      ? []
      : [
          widen(`${weight}.codes`, numbers),
          { ...node("Transpose", [`${weight}.scales`], columns), attributes: { perm: [1, 0] } },
        ];
    widened.add(weight);
    const product = addend === undefined ? y : `${y}_product`;
    return [
      ...before,
      { ...gemm, inputs: [x, numbers], outputs: [`${y}_levels`] },
      node("Mul", [`${y}_levels`, columns], product),
      ...(addend === undefined ? [] : [node("Add", [product, addend], y)]),
    ];
  }

  const nodes = graph.nodes.flatMap((each): OnnxNode[] => {
    if (each.type === "Gather" && isRounded(each.inputs[0]!)) return gathered(each);
    if (each.type === "Gemm" && isRounded(each.inputs[1]!)) return multiplied(each);
    return [each];
  });
  const constants = graph.constants.flatMap((constant): OnnxConstant[] => {
    const { name, shape } = constant;
    if (!isRounded(name)) return [constant];
    const [codes, scales] = [`${name}.codes`, `${name}.scales`];
    parts.set(codes, { weight: name, part: "codes" });
    parts.set(scales, { weight: name, part: "scales" });
    return [
      { name: codes, type: "int8", shape },
      { name: scales, type: "float32", shape: [shape[0]!, 1] },
    ];
  });
  return { graph: { ...graph, nodes, constants }, parts };
}
