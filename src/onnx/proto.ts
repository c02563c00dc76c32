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
  /** Lengths, or the names of those that a run decides; one that may be any has none. */
  readonly shape: readonly (number | string | undefined)[];
}

/**
 * Values that are part of a model; without bytes, they lie at `place` of a file, or are handed over beside
 * the model, by their name.
 */
export interface OnnxConstant extends OnnxValue {
  readonly type: keyof typeof elementTypes;
  readonly shape: readonly number[];
  readonly bytes?: Uint8Array;
  readonly place?: { readonly file: string; readonly offset: number; readonly length: number };
}

export interface OnnxGraph {
  readonly nodes: readonly OnnxNode[];
  readonly constants: readonly OnnxConstant[];
  readonly inputs: readonly OnnxValue[];
  readonly outputs: readonly OnnxValue[];
}

const elementTypes = {
  float32: 1,
  uint8: 2,
  int8: 3,
  int32: 6,
  int64: 7,
  bool: 9,
  float16: 10,
} as const;

/** The number of an element type, as Cast has it. */
export const elementType = (type: keyof typeof elementTypes): number => elementTypes[type];

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
            shape: {
              dim: shape.map((length) => {
                if (length === undefined) return {};
                return typeof length === "string" ? { dimParam: length } : { dimValue: length };
              }),
            },
          },
        },
});

const EXTERNAL = 1;

const heldOutside = ({ name, place }: OnnxConstant) => ({
  dataLocation: EXTERNAL,
  externalData: Object.entries({
    location: place?.file ?? name,
    ...(place && { offset: place.offset, length: place.length }),
  }).map(([key, value]) => ({ key, value: String(value) })),
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
        initializer: graph.constants.map((constant) => ({
          name: constant.name,
          dataType: elementTypes[constant.type],
          dims: [...constant.shape],
          ...(constant.bytes ? { rawData: constant.bytes } : heldOutside(constant)),
        })),
      },
    }),
  ).finish();
}
