// The few corners of the ONNX file format that tunesmith writes, as plain values.

import onnxProto from "onnx-proto";

const { onnx } = onnxProto;

export type AttributeValue =
  | number
  | readonly number[]
  | { readonly float: number }
  | { readonly string: string };

export interface OnnxNode {
  readonly type: string;
  readonly inputs: readonly string[];
  readonly outputs: readonly string[];
  readonly attributes?: Readonly<Record<string, AttributeValue>>;
  /** "com.microsoft" for ONNX Runtime's own operators; absent for the standard set. */
  readonly domain?: string;
}

export interface OnnxValue {
  readonly name: string;
  /** "sequence": of float32 tensors, without a shape. */
  readonly type: keyof typeof elementTypes | "sequence";
  /** A length that may be any is undefined. */
  readonly shape: readonly (number | undefined)[];
}

/** Values that are part of a model; without bytes, they are handed over beside it, by their name. */
export interface OnnxConstant extends OnnxValue {
  readonly type: keyof typeof elementTypes;
  readonly shape: readonly number[];
  readonly bytes?: Uint8Array;
}

export interface OnnxGraph {
  readonly nodes: readonly OnnxNode[];
  readonly constants: readonly OnnxConstant[];
  readonly inputs: readonly OnnxValue[];
  readonly outputs: readonly OnnxValue[];
}

const elementTypes = { float32: 1, uint8: 2, int8: 3, int32: 6, int64: 7, bool: 9 } as const;
const attributeTypes = { float: 1, int: 2, string: 3, ints: 7 } as const;

function encodeAttribute([name, value]: [string, AttributeValue]) {
  if (typeof value === "number") return { name, i: value, type: attributeTypes.int };
  if ("float" in value) return { name, f: value.float, type: attributeTypes.float };
  if ("string" in value)
    return { name, s: new TextEncoder().encode(value.string), type: attributeTypes.string };
  return { name, ints: [...value], type: attributeTypes.ints };
}

const encodeValue = ({ name, type, shape }: OnnxValue) => ({
  name,
  type:
    type === "sequence"
      ? { sequenceType: { elemType: { tensorType: { elemType: elementTypes.float32 } } } }
      : {
          tensorType: {
            elemType: elementTypes[type],
            shape: { dim: shape.map((dimValue) => (dimValue === undefined ? {} : { dimValue })) },
          },
        },
});

const EXTERNAL = 1;

const heldOutside = (name: string) => ({
  dataLocation: EXTERNAL,
  externalData: [{ key: "location", value: name }],
});

/** The graph as the bytes of an ONNX model (opset 21, ONNX Runtime's own operators version 1). */
export function encodeModel(graph: OnnxGraph): Uint8Array {
  return onnx.ModelProto.encode(
    onnx.ModelProto.create({
      irVersion: 10,
      producerName: "tunesmith",
      opsetImport: [
        { domain: "", version: 21 },
        { domain: "com.microsoft", version: 1 },
      ],
      graph: {
        name: "graph",
        node: graph.nodes.map(({ type, inputs, outputs, attributes = {}, domain = "" }) => ({
          opType: type,
          input: [...inputs],
          output: [...outputs],
          domain,
          attribute: Object.entries(attributes).map(encodeAttribute),
        })),
        input: graph.inputs.map(encodeValue),
        output: graph.outputs.map(encodeValue),
        initializer: graph.constants.map(({ name, type, shape, bytes }) => ({
          name,
          dataType: elementTypes[type],
          dims: [...shape],
          ...(bytes ? { rawData: bytes } : heldOutside(name)),
        })),
      },
    }),
  ).finish();
}
