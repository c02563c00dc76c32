// The layers of a decoder as kernels: each computes a run of layers on the new positions of some rows.
// One is traced for every number of rows, of new positions, and of positions in the cache.

import type { Scope } from "../../models/index.ts";
import type { Kernel } from "../../runtime/kernel.ts";
import { input, type Shape, type Tensor, topologicalOrder } from "../../tensor/index.ts";
import { expertCounts } from "../blocks.ts";
import { enterExperts } from "../experts/pieces.ts";
import { heldBy } from "../held-weights.ts";
import { type Binding, createTracer, selfAttention, type TraceShape } from "../trace.ts";
import { attendCached, cachedHeadSize } from "./cached-attention.ts";
import type { DecodableModel } from "./decoder-contract.ts";
import { layerGroups } from "./layer-groups.ts";

/**
 * A run of layers as a kernel: outputs are y, then each layer's keys and values, written where they
 * lie. One whose last layer sends rows to experts ends there, and y is what `enterExperts` makes.
 */
export interface LayerKernel {
  readonly kernel: Kernel;
  readonly feeds: readonly LayerFeed[];
}

export type LayerFeed =
  | { readonly kind: "x" }
  | { readonly kind: "keys" | "values" | "lastPositions" | "total"; readonly layer: number }
  | Binding;

/** What a kernel of layers is made for. */
export interface LayerShape {
  /** Rows, and new positions of each. */
  readonly trace: TraceShape;
  /** Positions that the cache has room for. */
  readonly capacity: number;
}

export interface LayerKernels {
  /** The layers of each kernel, in order. */
  readonly groups: readonly (readonly number[])[];
  kernel(group: readonly number[], shape: LayerShape): Promise<LayerKernel>;
}

/** @param model its parameters' values have no part in kernels */
export function createLayerKernels(model: Omit<DecodableModel, "parameterSet">): LayerKernels {
  const { architecture, weights, runtime } = model;
  const experts = expertCounts(architecture, model.method);
  const { dimensions } = architecture;
  const { layers, hiddenSize, keyValueHeads, headSize } = dimensions;
  const kernels = new Map<string, Promise<LayerKernel>>();

  const traceLayer = (layer: number, states: Tensor, scope: Scope) => {
    const attended = architecture.attention(layer, states, scope);
    return experts[layer]! > 0
      ? enterExperts(architecture.sparse(layer)!, attended, scope)
      : (architecture.feedForward?.(layer, attended, scope) ?? attended);
  };

  const compile = async (
    group: readonly number[],
    { trace, capacity }: LayerShape,
  ): Promise<LayerKernel> => {
    const { batch, sequence } = trace;
    const x = input("x", [batch * sequence, hiddenSize]);
    const feeds = new Map<Tensor, LayerFeed>([[x, { kind: "x" }]]);
    const fed = (feed: LayerFeed, shape: Shape, dtype?: Tensor["dtype"]) => {
      const tensor = input(feed.kind, shape, dtype);
      feeds.set(tensor, feed);
      return tensor;
    };
    const kept = [batch, keyValueHeads, capacity, cachedHeadSize(headSize)];
    const written: Tensor[] = [];
    let attended = 0;
    const within =
      dimensions.blanks && sequence > 1 ? selfAttention(architecture, trace) : undefined;
    const tracer = createTracer(model, trace, (given, shared, prefix) => {
      const layer = group[attended++]!;
      const cached = attendCached(given, trace, dimensions, {
        keptKeys: fed({ kind: "keys", layer }, kept),
        keptValues: fed({ kind: "values", layer }, kept),
        lastPositions: fed({ kind: "lastPositions", layer }, [batch], "int32"),
        total: fed({ kind: "total", layer }, [1], "int32"),
      });
      written.push(...cached.written);
      return within?.(given, shared, prefix) ?? cached.output;
    });
    const y = group.reduce((states, layer) => traceLayer(layer, states, tracer.scope), x);
    const outputs = [y, ...written];
    const used = new Set(topologicalOrder(outputs, new Set()));
    for (const [tensor, binding] of tracer.bindings)
      if (used.has(tensor)) feeds.set(tensor, binding);
    const held = heldBy(feeds, weights);
    const kernel = await runtime.compile(outputs, [...feeds.keys()], held);
    return { kernel, feeds: [...feeds.values()] };
  };

  /** What one new position of one row asks for in a layer. */
  const bindingsOf = (layer: number): Binding[] => {
    const shape = { batch: 1, sequence: 1, maskBatch: 1, training: false };
    const { scope, bindings } = createTracer(model, shape);
    traceLayer(layer, input("x", [1, hiddenSize]), scope);
    return [...bindings.values()];
  };
  const widened = new Set(
    architecture.weights
      .filter(({ name, role }) => role === "linear" && weights.isWidened(name))
      .map(({ name }) => name),
  );
  /** Products in whole numbers widen nothing; a method that reads a weight itself does. */
  const needsScratch = (layer: number): boolean =>
    widened.size > 0 &&
    bindingsOf(layer).some((binding) => binding.kind === "weight" && widened.has(binding.name));

  return {
    groups: layerGroups({ layers, needsScratch, ends: (layer) => experts[layer]! > 0 }),
    kernel(group, shape) {
      const { batch, sequence } = shape.trace;
      const key = [group[0], batch, sequence, shape.capacity].join(" ");
      const found = kernels.get(key) ?? compile(group, shape);
      kernels.set(key, found);
      return found;
    },
  };
}
