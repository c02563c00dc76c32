// The rows of the embedding that a run's tokens have, from a table of numbers or of codes in blocks.

import type { BoundArchitecture } from "../../models/index.ts";
import type { OnnxNode } from "../../onnx/index.ts";
import type { BlockOperands } from "../weights/block-weights.ts";
import { floatConstant, integerConstant, type Nodes } from "./mask-nodes.ts";

/** The code that stands for 0 where a table has 8 bits an element, as an embedding always does. */
const CODE_OF_ZERO = 128;

/** `embedded` [batch · seq, hidden] from `input_ids`. */
export function embeddingNodes(
  { embeddingName, dimensions }: BoundArchitecture,
  table: BlockOperands | undefined,
): Nodes {
  const { hiddenSize, embeddingScale = 1 } = dimensions;
  const isScaled = embeddingScale !== 1;
  const rows = isScaled ? "embedding_unscaled" : "embedded";
  const scaling: OnnxNode[] = isScaled
    ? [{ type: "Mul", inputs: [rows, "embedding_factor"], outputs: ["embedded"] }]
    : [];
  const constants = isScaled ? [floatConstant("embedding_factor", embeddingScale)] : [];
  const node = (type: string, inputs: readonly string[], output: string): OnnxNode => ({
    type,
    inputs,
    outputs: [output],
  });
  if (!table)
    return {
      nodes: [
        node("Gather", [embeddingName, "input_ids"], "embedding_rows"),
        node("Reshape", ["embedding_rows", "embedding_shape"], rows),
        ...scaling,
      ],
      constants: [...constants, integerConstant("embedding_shape", [-1, hiddenSize])],
    };
  const { codes } = table.parts;
  const [count, blocks] = codes.dims as [number, number];
  const padded = blocks * table.blockSize;
  const isPadded = padded !== hiddenSize;
  const cast: OnnxNode = {
    ...node("Cast", ["embedding_codes"], "embedding_numbers"),
    attributes: { to: 1 },
  };
  const whole = isPadded ? "embedding_padded" : rows;
  return {
    nodes: [
      node("Gather", [`${embeddingName}.codes`, "input_ids"], "embedding_codes"),
      cast,
      node("Sub", ["embedding_numbers", "embedding_zero"], "embedding_levels"),
      node("Reshape", [`${embeddingName}.scales`, "embedding_scale_shape"], "embedding_scales"),
      node("Gather", ["embedding_scales", "input_ids"], "embedding_steps"),
      node("Mul", ["embedding_levels", "embedding_steps"], "embedding_values"),
      node("Reshape", ["embedding_values", "embedding_shape"], whole),
      ...(isPadded
        ? [node("Slice", [whole, "embedding_from", "embedding_to", "embedding_axis"], rows)]
        : []),
      ...scaling,
    ],
    constants: [
      ...constants,
      floatConstant("embedding_zero", CODE_OF_ZERO),
      integerConstant("embedding_scale_shape", [count, blocks, 1]),
      integerConstant("embedding_shape", [-1, padded]),
      ...(isPadded
        ? [
            integerConstant("embedding_from", [0]),
            integerConstant("embedding_to", [hiddenSize]),
            integerConstant("embedding_axis", [1]),
          ]
        : []),
    ],
  };
}
