// From a tensor graph to an ONNX graph: one rule an operator. `fuse.ts` says which tensors need
// no node of their own.

import type { OperatorName, Shape, Tensor, TensorOf } from "../tensor/index.ts";
import { sizeOf, topologicalOrder } from "../tensor/index.ts";
import { createShapeWriter, type DynamicSize } from "./dynamic-sizes.ts";
import { type Fusions, planFusions, standsFor } from "./fuse.ts";
import type { AttributeValue, OnnxConstant, OnnxGraph, OnnxNode } from "./proto.ts";

interface Target {
  readonly fusions: Fusions;
  readonly nameOf: (tensor: Tensor) => string;
  readonly emit: (type: string, inputs: readonly string[], y: Tensor, options?: Emit) => void;
  /** The name of a constant list of whole numbers: axes, bounds, counts. */
  readonly integers: (values: Shape) => string;
  /** The same for the shape of a result, of which some lengths may be unknown. */
  readonly shape: (values: Shape) => string;
  /** Where one length of a shape may follow from the rest, the name of that shape. */
  readonly newShape: (values: Shape) => string;
  /** Whether operators are those of the standard, for other runtimes and versions than ours. */
  readonly isPortable: boolean;
  readonly scalar: (value: number) => string;
  /** The name of a constant uint8 array that is the same value throughout. */
  readonly bytes: (value: number, shape: Shape) => string;
  /** The name of a constant array, kept once for each content. */
  readonly array: (y: TensorOf<"constantTensor">) => string;
}

interface Emit {
  readonly attributes?: Readonly<Record<string, AttributeValue>>;
  readonly microsoft?: boolean;
  /** Names of all outputs, where `y` is not the only one. */
  readonly outputs?: readonly string[];
}

type Rule<O extends OperatorName> = (y: TensorOf<O> & Tensor, to: Target) => void;

const elementwise =
  (type: string): Rule<OperatorName> =>
  (y, { emit, nameOf }) =>
    emit(type, y.inputs.map(nameOf), y);

const nothing = (): void => {};

function product(y: TensorOf<"matmul"> & Tensor, to: Target, result: Tensor, addend?: Tensor) {
  const { transposeA, transposeB, scale } = y.attributes;
  const inputs = [...y.inputs, ...(addend ? [addend] : [])].map(to.nameOf);
  const attributes = {
    transA: Number(transposeA),
    transB: Number(transposeB),
    alpha: { float: scale },
  };
  if (y.shape.length === 2) to.emit("Gemm", inputs, result, { attributes });
  else if (to.isPortable) batchedProduct(y, to);
  else to.emit("FusedMatMul", inputs, result, { attributes, microsoft: true });
}

/** A product over the last two of more axes, without ONNX Runtime's own operator for it. */
function batchedProduct(y: TensorOf<"matmul"> & Tensor, to: Target): void {
  const { transposeA, transposeB, scale } = y.attributes;
  const name = to.nameOf(y);
  const step = (
    type: string,
    part: string,
    inputs: readonly string[],
    perm?: readonly number[],
  ) => {
    to.emit(type, inputs, y, {
      outputs: [`${name}_${part}`],
      ...(perm && { attributes: { perm } }),
    });
    return `${name}_${part}`;
  };
  const sides = y.inputs.map((side, i) => {
    if (![transposeA, transposeB][i]) return to.nameOf(side);
    const axes = side.shape.map((_, axis) => axis);
    const perm = [...axes.slice(0, -2), axes.length - 1, axes.length - 2];
    return step("Transpose", i === 0 ? "a" : "b", [to.nameOf(side)], perm);
  });
  if (scale === 1) to.emit("MatMul", sides, y);
  else to.emit("Mul", [step("MatMul", "product", sides), to.scalar(scale)], y);
}

/** The norm in operators of the standard, which every runtime knows and fuses again. */
function portableNorm(y: TensorOf<"rmsNorm"> & Tensor, to: Target): void {
  const [x, weight] = y.inputs.map(to.nameOf) as [string, string];
  const name = to.nameOf(y);
  const step = (type: string, part: string, inputs: readonly string[]) => {
    to.emit(type, inputs, y, { outputs: [`${name}_${part}`] });
    return `${name}_${part}`;
  };
  const square = step("Pow", "square", [x, to.scalar(2)]);
  const mean = step("ReduceMean", "mean", [square, to.integers([-1])]);
  const root = step("Sqrt", "root", [step("Add", "safe", [mean, to.scalar(y.attributes.epsilon)])]);
  to.emit("Mul", [step("Div", "normed", [x, root]), weight], y);
}

/** The norm and the inverse root mean square that its gradient needs are one node's two outputs. */
function norm(y: (TensorOf<"rmsNorm"> | TensorOf<"inverseRms">) & Tensor, to: Target): void {
  const twin = to.fusions.twins.get(y);
  if (to.isPortable && y.operator === "rmsNorm" && !twin) {
    portableNorm(y, to);
    return;
  }
  const [normalised, inverse] = y.operator === "rmsNorm" ? [y, twin] : [twin, y];
  const name = (tensor: Tensor | undefined) => (tensor ? to.nameOf(tensor) : undefined);
  const outputs = [name(normalised) ?? `${name(inverse)}_unused`];
  if (inverse) outputs.push(to.nameOf(inverse));
  to.emit("SimplifiedLayerNormalization", y.inputs.map(to.nameOf), y, {
    attributes: { axis: -1, epsilon: { float: y.attributes.epsilon } },
    outputs,
  });
}

/**
 * ScatterElements, whose indices are as wide as the rows: ScatterND would take one a row, but adds
 * rows of equal index from several threads at once and loses some (ONNX Runtime 1.30, issue 18048).
 */
function scatterRows(y: TensorOf<"scatterRows"> & Tensor, to: Target): void {
  const [rows, indices] = y.inputs as readonly [Tensor, Tensor];
  const count = sizeOf(indices.shape);
  const width = y.shape[1]!;
  const name = to.nameOf(y);
  const step = (type: string, part: string, inputs: readonly string[]) => {
    to.emit(type, inputs, y, { outputs: [`${name}_${part}`] });
    return `${name}_${part}`;
  };
  const zeros = step("Expand", "zeros", [to.scalar(0), to.shape(y.shape)]);
  const column = step("Reshape", "column", [to.nameOf(indices), to.newShape([count, 1])]);
  const wide = step("Expand", "wide", [column, to.shape([count, width])]);
  const flat = step("Reshape", "flat", [to.nameOf(rows), to.newShape([count, width])]);
  to.emit("ScatterElements", [zeros, wide, flat], y, {
    attributes: { axis: 0, reduction: { string: "add" } },
  });
}

/** Ones written at the indices that TopK gives, so that equal elements never make it more than `count`. */
function topMask(y: TensorOf<"topMask"> & Tensor, to: Target): void {
  const { count } = y.attributes;
  const name = to.nameOf(y);
  const [values, places, zeros, ones] = ["values", "places", "zeros", "ones"].map(
    (part) => `${name}_${part}`,
  ) as [string, string, string, string];
  to.emit("TopK", [to.nameOf(y.inputs[0]!), to.integers([count])], y, {
    attributes: { axis: -1, largest: 1, sorted: 1 },
    outputs: [values, places],
  });
  const taken = [...y.shape.slice(0, -1), count];
  to.emit("Expand", [to.scalar(0), to.shape(y.shape)], y, { outputs: [zeros] });
  to.emit("Expand", [to.scalar(1), to.shape(taken)], y, { outputs: [ones] });
  to.emit("ScatterElements", [zeros, places, ones], y, { attributes: { axis: -1 } });
}

const LARGEST_CODE = 127;
const CODE_OF_ZERO = 128;

/** The larger of maximum and negated minimum: both reductions together are cheaper than one Abs. */
function rowScales(y: TensorOf<"rowScales"> & Tensor, to: Target): void {
  const x = to.nameOf(y.inputs[0]!);
  const name = to.nameOf(y);
  const step = (type: string, part: string, inputs: readonly string[]) => {
    to.emit(type, inputs, y, { outputs: [`${name}_${part}`] });
    return `${name}_${part}`;
  };
  const largest = step("ReduceMax", "largest", [x, to.integers([1])]);
  const lowest = step("Neg", "lowest", [step("ReduceMin", "smallest", [x, to.integers([1])])]);
  const magnitude = step("Max", "magnitude", [largest, lowest, to.scalar(1e-30)]);
  to.emit("Mul", [magnitude, to.scalar(1 / LARGEST_CODE)], y);
}

function rowCodes(y: TensorOf<"rowCodes"> & Tensor, to: Target): void {
  const [x, scales] = y.inputs.map(to.nameOf) as [string, string];
  const rows = y.shape[0]!;
  const flat = `${to.nameOf(y)}_scales`;
  to.emit("Reshape", [scales, to.shape([rows])], y, { outputs: [flat] });
  to.emit("QuantizeLinear", [x, flat, to.bytes(CODE_OF_ZERO, [rows])], y, {
    attributes: { axis: 0 },
  });
}

function integerMatmul(y: TensorOf<"integerMatmul"> & Tensor, to: Target): void {
  const [codes, rows, weight, columns] = y.inputs.map(to.nameOf) as [
    string,
    string,
    string,
    string?,
  ];
  const product = `${to.nameOf(y)}_product`;
  const one = to.scalar(1);
  to.emit(
    "MatMulIntegerToFloat",
    [codes, weight, one, columns ?? one, to.bytes(CODE_OF_ZERO, [])],
    y,
    { outputs: [product], microsoft: true },
  );
  to.emit("Mul", [product, rows], y);
}

function blockLinear(y: TensorOf<"blockLinear"> & Tensor, to: Target): void {
  const { bits, blockSize } = y.attributes;
  to.emit("MatMulNBits", y.inputs.map(to.nameOf), y, {
    attributes: {
      K: y.inputs[0]!.shape[1]!,
      N: y.shape[1]!,
      bits,
      block_size: blockSize,
      // Rows in 8-bit integers, as fast as the processor has them.
      accuracy_level: 4,
    },
    microsoft: true,
  });
}

function cachedAttention(y: TensorOf<"cachedAttention"> & Tensor, to: Target): void {
  const { heads, keyValueHeads, scale, window, scoreCap } = y.attributes;
  const name = to.nameOf(y);
  const caches = to.fusions.caches.get(y);
  const written = (["cachedKeys", "cachedValues"] as const).map((operator) => {
    const cache = caches?.[operator];
    return cache ? to.nameOf(cache) : `${name}_${operator}`;
  });
  to.emit("GroupQueryAttention", y.inputs.map(to.nameOf), y, {
    attributes: {
      num_heads: heads,
      kv_num_heads: keyValueHeads,
      scale: { float: scale },
      ...(window && { local_window_size: window }),
      ...(scoreCap && { softcap: { float: scoreCap } }),
    },
    outputs: [name, ...written],
    microsoft: true,
  });
}

const loweringRules = {
  input: nothing,
  constant: nothing,
  constantTensor: nothing,
  add: (y, to) => {
    const fused = to.fusions.gemms.get(y);
    if (fused) product(fused.product, to, y, fused.addend);
    else to.emit("Add", y.inputs.map(to.nameOf), y);
  },
  subtract: elementwise("Sub"),
  multiply: elementwise("Mul"),
  divide: elementwise("Div"),
  negate: elementwise("Neg"),
  exp: elementwise("Exp"),
  log: elementwise("Log"),
  sqrt: elementwise("Sqrt"),
  sin: elementwise("Sin"),
  cos: elementwise("Cos"),
  abs: elementwise("Abs"),
  sign: elementwise("Sign"),
  sigmoid: elementwise("Sigmoid"),
  silu: (y, to) =>
    to.emit("QuickGelu", y.inputs.map(to.nameOf), y, {
      attributes: { alpha: { float: 1 } },
      microsoft: true,
    }),
  tanh: elementwise("Tanh"),
  erf: elementwise("Erf"),
  relu: elementwise("Relu"),
  matmul: (y, to) => product(y, to, y),
  rowScales,
  rowCodes,
  integerMatmul,
  blockLinear,
  cachedAttention,
  cachedKeys: nothing,
  cachedValues: nothing,
  inverse: (y, to) => to.emit("Inverse", y.inputs.map(to.nameOf), y, { microsoft: true }),
  sum: (y, to) =>
    to.emit("ReduceSum", [to.nameOf(y.inputs[0]!), to.integers(y.attributes.axes)], y),
  maximum: (y, to) =>
    to.emit("ReduceMax", [to.nameOf(y.inputs[0]!), to.integers(y.attributes.axes)], y),
  softmax: (y, to) => to.emit("Softmax", y.inputs.map(to.nameOf), y, { attributes: { axis: -1 } }),
  rmsNorm: norm,
  inverseRms: norm,
  reshape: (y, to) => to.emit("Reshape", [to.nameOf(y.inputs[0]!), to.newShape(y.shape)], y),
  transpose: (y, to) =>
    to.emit("Transpose", y.inputs.map(to.nameOf), y, {
      attributes: { perm: y.attributes.permutation },
    }),
  slice: (y, to) => {
    const { start, end, axis } = y.attributes;
    const bounds = [[start], [end], [axis]].map(to.integers);
    to.emit("Slice", [to.nameOf(y.inputs[0]!), ...bounds], y);
  },
  concat: (y, to) =>
    to.emit("Concat", y.inputs.map(to.nameOf), y, { attributes: { axis: y.attributes.axis } }),
  broadcast: (y, to) => to.emit("Expand", [to.nameOf(y.inputs[0]!), to.shape(y.shape)], y),
  rotary: (y, to) =>
    to.emit("RotaryEmbedding", y.inputs.map(to.nameOf), y, {
      attributes: {
        num_heads: y.attributes.heads,
        rotary_embedding_dim: 2 * y.inputs[2]!.shape[1]!,
        interleaved: Number(y.attributes.interleaved),
      },
      microsoft: true,
    }),
  gatherRows: elementwise("Gather"),
  scatterRows,
  greaterOrEqual: elementwise("GreaterOrEqual"),
  where: elementwise("Where"),
  topMask,
  toFloat: (y, to) => to.emit("Cast", y.inputs.map(to.nameOf), y, { attributes: { to: 1 } }),
  stopGradient: nothing,
  withGradient: nothing,
} satisfies { [O in OperatorName]: Rule<O> };

export interface LoweredGraph extends OnnxGraph {
  /** What the input `SIZES` is fed for this graph: all shapes behind one another. Without any, there is none. */
  readonly sizes: readonly number[];
}

/** The input of a graph that holds weights, int64 [all sizes]. */
export const SIZES = "sizes";

/**
 * An ONNX graph with inputs `in0`, `in1`, … for `given` and outputs `out0`, `out1`, … .
 * Every given tensor stays an input, whether or not it is used, so that callers feed by position.
 * @param held what is part of the model instead, to be handed over as `held0`, `held1`, …; without `sizes`, such a
 *   graph serves all whose `printAnySizes` is the same, fed the sizes of each
 * @param sizes lengths that are left open, in a graph for other runtimes too: operators are the standard's,
 *   but for those of ONNX Runtime that its builds for browsers have as well
 */
export function lower(
  outputs: readonly Tensor[],
  given: readonly Tensor[],
  held: readonly Tensor[] = [],
  openSizes?: readonly DynamicSize[],
): LoweredGraph {
  const isForAnySizes = held.length > 0 && openSizes === undefined;
  const fedShapes: Shape[] = [];
  const givenSet = new Set([...given, ...held]);
  const order = topologicalOrder(outputs, givenSet);
  const fusions = planFusions(order, outputs, givenSet);
  const nodes: OnnxNode[] = [];
  const constants = new Map<string, OnnxConstant>();
  const names = new Map<Tensor, string>(given.map((tensor, i) => [tensor, `in${i}`]));
  for (const [i, tensor] of held.entries()) names.set(tensor, `held${i}`);

  // An output carries its own name from the start: a renaming node would copy it.
  const copies: [from: Tensor, name: string][] = [];
  outputs.forEach((output, i) => {
    const tensor = standsFor(output, givenSet);
    const named = names.has(tensor) || tensor.operator.startsWith("constant");
    if (named) copies.push([tensor, `out${i}`]);
    else names.set(tensor, `out${i}`);
  });

  const keep = (name: string, type: OnnxConstant["type"], shape: Shape, bytes: Uint8Array) => {
    constants.set(name, { name, type, shape, bytes });
    return name;
  };
  const integers = (values: Shape) => {
    const bytes = new Uint8Array(BigInt64Array.from(values, BigInt).buffer);
    return keep(`integers_${values.join("_")}`, "int64", [values.length], bytes);
  };
  const shapes = createShapeWriter(openSizes ?? [], integers, (node) => nodes.push(node));
  const shape = (values: Shape) => {
    if (isForAnySizes) return `shape${fedShapes.push(values) - 1}`;
    return values.some(shapes.isDynamic) ? shapes.computed(values) : integers(values);
  };
  const to: Target = {
    fusions,
    isPortable: openSizes !== undefined,
    integers,
    shape,
    newShape: (values) =>
      values.filter(shapes.isDynamic).length === 1
        ? integers(values.map((value) => (shapes.isDynamic(value) ? -1 : value)))
        : shape(values),
    nameOf: (alias) => {
      const tensor = standsFor(alias, givenSet);
      if (tensor.operator === "constant" && !givenSet.has(tensor))
        return to.scalar(tensor.attributes.value);
      if (tensor.operator === "constantTensor" && !givenSet.has(tensor)) return to.array(tensor);
      let name = names.get(tensor);
      if (!name) {
        name = `t${names.size}`;
        names.set(tensor, name);
      }
      return name;
    },
    emit: (type, inputs, y, { attributes, microsoft, outputs: all } = {}) =>
      nodes.push({
        type,
        inputs,
        outputs: all ?? [to.nameOf(y)],
        attributes,
        domain: microsoft ? "com.microsoft" : "",
      }),
    scalar: (value) =>
      keep(`scalar_${value}`, "float32", [], new Uint8Array(Float32Array.of(value).buffer)),
    bytes: (value, shape) =>
      keep(
        `bytes_${[value, ...shape].join("_")}`,
        "uint8",
        shape,
        new Uint8Array(sizeOf(shape)).fill(value),
      ),
    array: ({ attributes: { data, digest }, dtype, shape }) =>
      keep(`array_${shape.join("_")}_${digest}`, dtype, shape, new Uint8Array(data.buffer)),
  };

  for (const tensor of order) {
    if (givenSet.has(tensor) || fusions.folded.has(tensor)) continue;
    (loweringRules[tensor.operator] as Rule<OperatorName>)(tensor, to);
  }
  for (const [from, name] of copies)
    nodes.push({ type: "Identity", inputs: [to.nameOf(from)], outputs: [name] });

  const sizes = fedShapes.flat();
  if (sizes.length > 0)
    nodes.unshift({
      type: "Split",
      inputs: [SIZES, to.integers(fedShapes.map(({ length }) => length))],
      outputs: fedShapes.map((_, i) => `shape${i}`),
    });
  const fed =
    sizes.length > 0 ? [{ name: SIZES, type: "int64", shape: [sizes.length] } as const] : [];
  const described = ({ dtype: type, shape }: Tensor, name: string) => ({
    name,
    type,
    shape: isForAnySizes ? shape.map(() => undefined) : shape,
  });
  return {
    nodes,
    constants: [
      ...constants.values(),
      ...held.map(({ dtype: type, shape }, i) => ({ name: `held${i}`, type, shape })),
    ],
    inputs: [...given.map((tensor, i) => described(tensor, `in${i}`)), ...fed],
    outputs: outputs.map((tensor, i) => described(tensor, `out${i}`)),
    sizes,
  };
}
