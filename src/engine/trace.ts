// Tracing a piece of a model into a graph: the scope that architectures and methods ask for their
// weights, parameters and shared inputs, and the record of what each graph input stands for.

import type { BoundMethod, MethodScope, ParameterSpec, PrefixStates } from "../methods/index.ts";
import {
  type AttentionInputs,
  type BlockStack,
  causalAttention,
  type Reach,
  rotaryPairs,
  type Scope,
} from "../models/index.ts";
import type { BlockWeight, IntegerRows, IntegerWeight, Shape, Tensor } from "../tensor/index.ts";
import {
  add,
  blockLinear,
  blockSums,
  constant,
  greaterOrEqual,
  input,
  integerLinear,
  integerRows,
  linear,
  multiply,
  reshape,
  rotary,
  sum,
  toFloat,
} from "../tensor/index.ts";
import type { BlockOperands } from "./weights/block-weights.ts";
import type { WeightStore } from "./weights/weights.ts";

/** What to feed to a graph input. */
export type Binding =
  | { readonly kind: "weight"; readonly name: string }
  | { readonly kind: "integers"; readonly name: string; readonly part: keyof IntegerWeight }
  | { readonly kind: "blocks"; readonly name: string; readonly part: keyof BlockWeight }
  | { readonly kind: "parameter"; readonly spec: ParameterSpec }
  | { readonly kind: "shared"; readonly name: SharedName }
  | {
      readonly kind: "dropout";
      readonly site: string;
      readonly probability: number;
      readonly shape: Shape;
    };

/** Inputs that all layers of a batch share. */
export type SharedName = BatchInput | "firstStates";

/** Those that follow from the batch. */
export type BatchInput = "positions" | ReachInputName | "tokenIds" | "rowWeights";

export const REACHES: readonly Reach[] = ["global", "local"];

/** Those that depend on how far attention looks back. */
interface ReachInput {
  readonly mask: "mask" | "localMask";
  readonly cosines: "cosines" | "localCosines";
  readonly sines: "sines" | "localSines";
}
export type ReachInputName = ReachInput[keyof ReachInput];

export const REACH_INPUTS: Readonly<Record<Reach, ReachInput>> = {
  global: { mask: "mask", cosines: "cosines", sines: "sines" },
  local: { mask: "localMask", cosines: "localCosines", sines: "localSines" },
};

/** Sizes that a trace is made for. */
export interface TraceShape {
  readonly batch: number;
  readonly sequence: number;
  /** Rows of the mask's first axis: 1, or one for each row of the batch. */
  readonly maskBatch: number;
  /** Whether dropout is on. */
  readonly training: boolean;
  /** Whether `rowMean` leaves padding out. */
  readonly skipsPadding?: true;
  /** Whether it is the first of two passes, see `BoundMethod.readsFirstPass`. */
  readonly isFirstPass?: true;
  /** Rows of the cosine and sine tables, where positions go beyond the sequence's length. */
  readonly rotaryLength?: number;
}

export interface Tracer {
  readonly scope: Scope;
  /** What each graph input made so far stands for. */
  readonly bindings: ReadonlyMap<Tensor, Binding>;
  /** What a method's hooks may use, where one is called from outside of a block. */
  readonly methodScope: MethodScope;
  /** What the output module is given: normed states, as the method's `output` hook leaves them. */
  output(x: Tensor): Tensor;
  /** The graph inputs of trained tensors, if they were used. */
  parameterInputs(): Map<ParameterSpec, Tensor>;
  /** What was reported so far, by who did and then by name. */
  readonly statistics: Readonly<Record<Reporter, ReadonlyMap<string, Tensor>>>;
}

/** Who reports statistics: each has a loss of its own, which is of these alone. */
export const REPORTERS = ["architecture", "method"] as const;
export type Reporter = (typeof REPORTERS)[number];

export type Attend = (
  inputs: AttentionInputs,
  shared: (name: SharedName) => Tensor,
  prefix: PrefixStates | undefined,
) => Tensor;

/** Attention within the sequence itself, as in training. */
export function selfAttention({ dimensions }: BlockStack, shape: TraceShape): Attend {
  const { batch, sequence } = shape;
  const seesContext = "blanks" in dimensions && dimensions.blanks !== undefined;
  return ({ queries, keys, values, reach = "global", ...scores }, shared, prefix) =>
    causalAttention(
      queries,
      keys,
      values,
      shared(REACH_INPUTS[reach].mask),
      scores,
      { ...dimensions, seesContext, batch, sequence },
      prefix,
    );
}

/** What is traced. */
export interface TracedModel {
  readonly architecture: BlockStack;
  readonly method: BoundMethod | undefined;
  readonly weights: Pick<WeightStore, "integers" | "blocks">;
}

export function createTracer(
  { architecture, method, weights }: TracedModel,
  shape: TraceShape,
  attend: Attend = selfAttention(architecture, shape),
): Tracer {
  const { hiddenSize } = architecture.dimensions;
  const { rotaryLength = shape.sequence } = shape;
  const shapes = new Map(architecture.weights.map((weight) => [weight.name, weight.shape]));
  const bindings = new Map<Tensor, Binding>();
  const made = new Map<string, Tensor>();

  const once = (
    name: string,
    size: Shape,
    binding: Binding,
    dtype?: Parameters<typeof input>[2],
  ) => {
    let tensor = made.get(name);
    if (!tensor) {
      tensor = input(name, size, dtype);
      made.set(name, tensor);
      bindings.set(tensor, binding);
    }
    return tensor;
  };
  const parameter = (spec: ParameterSpec) =>
    once(spec.key, spec.shape, { kind: "parameter", spec });
  const { outputPath, outputName } = architecture;
  /** The weight that a module reads under the name of its own. */
  const nameOf = (use: string) =>
    outputName !== undefined && use === `${outputPath}.weight` ? outputName : use;
  const weight = (use: string): Tensor => {
    const trained = method?.replaces.get(use);
    if (trained) return parameter(trained);
    const name = nameOf(use);
    return once(name, shapes.get(name)!, { kind: "weight", name });
  };
  const rotaryTable = [rotaryLength, rotaryPairs(architecture.dimensions)];
  const mask = [shape.maskBatch, 1, shape.sequence, shape.sequence];
  const sharedShapes: Record<SharedName, Shape> = {
    positions: [shape.batch, shape.sequence],
    cosines: rotaryTable,
    localCosines: rotaryTable,
    sines: rotaryTable,
    localSines: rotaryTable,
    mask,
    localMask: mask,
    tokenIds: [shape.batch, shape.sequence],
    rowWeights: [shape.batch, shape.sequence],
    firstStates: [shape.batch * shape.sequence, hiddenSize],
  };
  const shared = (name: SharedName): Tensor => {
    const dtype = name === "positions" || name === "tokenIds" ? "int64" : "float32";
    return once(name, sharedShapes[name], { kind: "shared", name }, dtype);
  };
  const dropout = (x: Tensor, probability: number, site: string): Tensor => {
    if (!shape.training || probability === 0) return x;
    const binding = { kind: "dropout", site, probability, shape: x.shape } as const;
    const kept = once(`dropout ${site}`, x.shape, binding, "uint8");
    return multiply(x, multiply(toFloat(kept), constant(1 / (1 - probability))));
  };

  const rowMean = (x: Tensor): Tensor => {
    const rows = reshape(x, [shape.batch, shape.sequence, x.shape[1]!]);
    if (!shape.skipsPadding) return multiply(sum(rows, [1]), constant(1 / shape.sequence));
    const shares = reshape(shared("rowWeights"), [shape.batch, shape.sequence, 1]);
    return sum(multiply(rows, shares), [1]);
  };

  const statistics = {
    architecture: new Map<string, Tensor>(),
    method: new Map<string, Tensor>(),
  };
  const reportsOf = (reporter: Reporter) => ({
    training: shape.training,
    realPositions() {
      const shares = reshape(shared("rowWeights"), [shape.batch * shape.sequence, 1]);
      return toFloat(greaterOrEqual(shares, constant(1e-9)));
    },
    statistic: (name: string, value: Tensor) => void statistics[reporter].set(name, value),
  });
  const methodScope: MethodScope = {
    ...reportsOf("method"),
    batch: shape.batch,
    sequence: shape.sequence,
    parameter,
    weight,
    dropout,
    tokenIds: () => shared("tokenIds"),
    rowMean,
    firstStates: () => (shape.isFirstPass ? undefined : shared("firstStates")),
  };
  const integers = (name: string): IntegerWeight => {
    const [output, inner] = shapes.get(name) as [number, number];
    const part = (part: keyof IntegerWeight, size: Shape, dtype: "int8" | "float32") =>
      once(`${name} ${part}`, size, { kind: "integers", name, part }, dtype);
    return {
      codes: part("codes", [output, inner], "int8"),
      transposed: part("transposed", [inner, output], "int8"),
      scales: part("scales", [output], "float32"),
    };
  };
  const roundedRows = new Map<Tensor, IntegerRows>();
  const sums = new Map<Tensor, Tensor>();
  const inBlocks = (x: Tensor, name: string, operands: BlockOperands): Tensor => {
    const { parts, bits, blockSize } = operands;
    const named = Object.entries(parts).map(([key, { dims, type }]) => {
      const part = key as keyof BlockWeight;
      return [
        part,
        once(`${name} ${part}`, dims, { kind: "blocks", name, part }, type as "uint8"),
      ] as const;
    });
    const weight = Object.fromEntries(named) as { [Part in keyof BlockWeight]: Tensor };
    if (parts.offsets && !sums.has(x)) sums.set(x, blockSums(x, blockSize));
    return blockLinear(x, weight, { bits, blockSize }, sums.get(x));
  };
  const frozenProduct = (x: Tensor, use: string): Tensor => {
    const name = nameOf(use);
    const blocks = method?.replaces.has(use) ? undefined : weights.blocks(name);
    if (blocks) return inBlocks(x, name, blocks);
    if (!weights.integers(name) || method?.replaces.has(name)) return linear(x, weight(use));
    const rows = roundedRows.get(x) ?? integerRows(x);
    roundedRows.set(x, rows);
    return integerLinear(x, integers(name), rows);
  };
  const products = new Map<string, Map<Tensor, Tensor>>();
  /** A frozen module's output; asked for twice with one input, it is one product in the graph. */
  const base = (path: string, x: Tensor): Tensor => {
    const known = products.get(path) ?? new Map<Tensor, Tensor>();
    products.set(path, known);
    let output = known.get(x);
    if (!output) {
      const product = frozenProduct(x, `${path}.weight`);
      output = shapes.has(`${path}.bias`) ? add(product, weight(`${path}.bias`)) : product;
      known.set(x, output);
    }
    return output;
  };

  const scope: Scope = {
    ...reportsOf("architecture"),
    weight,
    linear: (path, x) =>
      method?.linear?.(path, x, (input) => base(path, input), methodScope) ?? base(path, x),
    module: (path, x, run) => method?.module?.(path, x, run, methodScope) ?? run(x),
    residual: (path, x, output) =>
      method?.residual?.(path, x, output, methodScope) ?? add(x, output),
    positions: () => reshape(shared("positions"), [shape.batch * shape.sequence]),
    rotate(x, heads, reach = "global") {
      const rows = [shape.batch, shape.sequence, x.shape[1]!];
      const { cosines, sines } = REACH_INPUTS[reach];
      const rotated = rotary(
        reshape(x, rows),
        shared("positions"),
        shared(cosines),
        shared(sines),
        heads,
        architecture.rotatesNeighbours,
      );
      return reshape(rotated, x.shape);
    },
    attend: (inputs) =>
      attend(inputs, shared, method?.prefix?.(inputs.path, inputs.input, methodScope)),
  };
  return {
    scope,
    bindings,
    methodScope,
    output: (x) => method?.output?.(x, methodScope) ?? x,
    statistics,
    parameterInputs: () =>
      new Map(
        [...bindings].flatMap(([tensor, binding]) =>
          binding.kind === "parameter" && !binding.spec.frozen
            ? [[binding.spec, tensor] as const]
            : [],
        ),
      ),
  };
}
