// Which positions see which, from the lengths and the mask that a run is given: a row sees itself and what
// is before it, where there is a token, as far back as attention looks.

import type { OnnxConstant, OnnxNode } from "../../onnx/index.ts";

/** Nodes of a graph with the constants that they read. */
export interface Nodes {
  readonly nodes: readonly OnnxNode[];
  readonly constants: readonly OnnxConstant[];
}

/** A constant list of whole numbers; of none, a scalar where `shape` is []. */
export const integerConstant = (
  name: string,
  values: readonly number[],
  shape: readonly number[] = [values.length],
): OnnxConstant => ({
  name,
  type: "int64",
  shape,
  bytes: new Uint8Array(BigInt64Array.from(values, BigInt).buffer),
});

export const floatConstant = (name: string, value: number): OnnxConstant => ({
  name,
  type: "float32",
  shape: [],
  bytes: new Uint8Array(Float32Array.of(value).buffer),
});

/**
 * `mask` [batch, 1, seq, total] and, with a window, `localMask`, both added to scores.
 * @param hidden what is added where nothing is seen
 */
export function maskNodes(window: number | undefined, hidden: number): Nodes {
  const node = (
    type: string,
    inputs: readonly string[],
    output: string,
    attributes?: OnnxNode["attributes"],
  ): OnnxNode => ({ type, inputs, outputs: [output], ...(attributes && { attributes }) });
  const masked = (seen: string, mask: string) => [
    node("And", ["mask_real", seen], `${mask}_visible`),
    node("Where", [`${mask}_visible`, "mask_shown", "mask_hidden"], mask),
  ];
  const nodes = [
    node("Shape", ["input_ids"], "mask_fresh", { start: 1, end: 2 }),
    node("Shape", ["attention_mask"], "mask_total", { start: 1, end: 2 }),
    node("Sub", ["mask_total", "mask_fresh"], "mask_past"),
    node("Squeeze", ["mask_total"], "mask_end"),
    node("Squeeze", ["mask_past"], "mask_start"),
    node("Range", ["mask_zero", "mask_end", "mask_one"], "mask_keys"),
    node("Range", ["mask_start", "mask_end", "mask_one"], "mask_rows"),
    node("Unsqueeze", ["mask_rows", "mask_last_axis"], "mask_queries"),
    node("LessOrEqual", ["mask_keys", "mask_queries"], "mask_before"),
    node("Greater", ["attention_mask", "mask_zero"], "mask_tokens"),
    node("Unsqueeze", ["mask_tokens", "mask_middle_axes"], "mask_real"),
    ...masked("mask_before", "mask"),
    ...(window === undefined
      ? []
      : [
          node("Sub", ["mask_queries", "mask_keys"], "mask_distance"),
          node("Less", ["mask_distance", "mask_window"], "mask_near"),
          node("And", ["mask_before", "mask_near"], "mask_within"),
          ...masked("mask_within", "localMask"),
        ]),
  ];
  return {
    nodes,
    constants: [
      integerConstant("mask_zero", [0], []),
      integerConstant("mask_one", [1], []),
      integerConstant("mask_last_axis", [1]),
      integerConstant("mask_middle_axes", [1, 2]),
      floatConstant("mask_shown", 0),
      floatConstant("mask_hidden", hidden),
      ...(window === undefined ? [] : [integerConstant("mask_window", [window], [])]),
    ],
  };
}
