// Tracing a piece of a model into a graph: the scope that architectures and methods ask for their
// weights, parameters and shared inputs, and the record of what each graph input stands for.

import type { BoundMethod, ParameterSpec } from "../methods/index.ts";
import {
  type AttentionInputs,
  type BoundArchitecture,
  causalAttention,
  type Scope,
} from "../models/index.ts";
import type { Shape, Tensor } from "../tensor/index.ts";
import {
  add,
  constant,
  input,
  linear,
  multiply,
  reshape,
  rotary,
  toFloat,
} from "../tensor/index.ts";

/** What to feed to a graph input. */
export type Binding =
  | { readonly kind: "weight"; readonly name: string }
  | { readonly kind: "parameter"; readonly spec: ParameterSpec }
  | { readonly kind: "shared"; readonly name: SharedName }
  | {
      readonly kind: "dropout";
      readonly site: string;
      readonly probability: number;
      readonly shape: Shape;
    };

/** Inputs that all layers of a batch share. */
export type SharedName = "positions" | "cosines" | "sines" | "mask";

/** Sizes that a trace is made for. */
export interface TraceShape {
  readonly batch: number;
  readonly sequence: number;
  /** Rows of the mask's first axis: 1, or one for each row of the batch. */
  readonly maskBatch: number;
  /** Whether dropout is on. */
  readonly training: boolean;
}

export interface Tracer {
  readonly scope: Scope;
  /** What each graph input made so far stands for. */
  readonly bindings: ReadonlyMap<Tensor, Binding>;
  /** The graph input of a trained tensor, if it was used. */
  parameterInputs(): Map<ParameterSpec, Tensor>;
}

export type Attend = (inputs: AttentionInputs, shared: (name: SharedName) => Tensor) => Tensor;

/** Attention within the sequence itself, as in training. */
export function selfAttention(architecture: BoundArchitecture, shape: TraceShape): Attend {
  return ({ queries, keys, values, scale }, shared) =>
    causalAttention(queries, keys, values, shared("mask"), scale, {
      ...architecture.dimensions,
      batch: shape.batch,
      sequence: shape.sequence,
    });
}

/** @param rotaryLength rows of the cosine and sine tables */
export function createTracer(
  architecture: BoundArchitecture,
  method: BoundMethod | undefined,
  shape: TraceShape,
  attend: Attend = selfAttention(architecture, shape),
  rotaryLength: number = shape.sequence,
): Tracer {
  const { headSize } = architecture.dimensions;
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
  const weight = (name: string): Tensor => {
    const trained = method?.replaces.get(name);
    return trained ? parameter(trained) : once(name, shapes.get(name)!, { kind: "weight", name });
  };
  const sharedShapes: Record<SharedName, Shape> = {
    positions: [shape.batch, shape.sequence],
    cosines: [rotaryLength, headSize / 2],
    sines: [rotaryLength, headSize / 2],
    mask: [shape.maskBatch, 1, shape.sequence, shape.sequence],
  };
  const shared = (name: SharedName): Tensor => {
    const dtype = name === "positions" ? "int64" : "float32";
    return once(name, sharedShapes[name], { kind: "shared", name }, dtype);
  };
  const dropout = (x: Tensor, probability: number, site: string): Tensor => {
    if (!shape.training || probability === 0) return x;
    const binding = { kind: "dropout", site, probability, shape: x.shape } as const;
    const kept = once(`dropout ${site}`, x.shape, binding, "uint8");
    return multiply(x, multiply(toFloat(kept), constant(1 / (1 - probability))));
  };

  const scope: Scope = {
    weight,
    linear(path, x) {
      const product = linear(x, weight(`${path}.weight`));
      const biased = shapes.has(`${path}.bias`) ? add(product, weight(`${path}.bias`)) : product;
      return method?.linear?.(path, x, biased, { parameter, dropout }) ?? biased;
    },
    rotate(x, heads) {
      const rows = [shape.batch, shape.sequence, x.shape[1]!];
      const rotated = rotary(
        reshape(x, rows),
        shared("positions"),
        shared("cosines"),
        shared("sines"),
        heads,
      );
      return reshape(rotated, x.shape);
    },
    attend: (inputs) => attend(inputs, shared),
  };
  return {
    scope,
    bindings,
    parameterInputs: () =>
      new Map(
        [...bindings].flatMap(([tensor, binding]) =>
          binding.kind === "parameter" ? [[binding.spec, tensor] as const] : [],
        ),
      ),
  };
}
