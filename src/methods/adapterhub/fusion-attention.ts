// The attention of an AdapterFusion: at one site, over what several adapters add there.

import {
  add,
  concat,
  constant,
  constantTensor,
  gatherRows,
  linear,
  matmul,
  multiply,
  reshape,
  slice,
  softmax,
  subtract,
  sum,
  type Tensor,
} from "../../tensor/index.ts";
import type { MethodScope, ParameterSpec } from "../method.ts";
import { type DenseLayer, dense } from "../parts/dense-layer.ts";
import { normalSpec, zeroSpec } from "../parts/initial-values.ts";
import type { Bottleneck } from "./bottleneck.ts";

/** The attention at one site. */
export interface FusionAttention {
  readonly query: DenseLayer;
  readonly key: DenseLayer;
  readonly value: ParameterSpec | undefined;
  readonly adapters: readonly Bottleneck[];
}

/** @param key the prefix of its tensors */
export function fusionAttention(
  key: string,
  hiddenSize: number,
  hasValue: boolean,
  adapters: readonly Bottleneck[],
): FusionAttention {
  const layer = (part: string): DenseLayer => ({
    weight: normalSpec(`${key}.${part}.weight`, [hiddenSize, hiddenSize], 0.02),
    bias: zeroSpec(`${key}.${part}.bias`, [hiddenSize]),
  });
  return {
    query: layer("query"),
    key: layer("key"),
    value: hasValue ? nearIdentity(`${key}.value.weight`, hiddenSize) : undefined,
    adapters,
  };
}

/** The adapters' tensors, and those of the attention itself. */
export const fusionParameters = ({
  query,
  key,
  value,
  adapters,
}: FusionAttention): ParameterSpec[] => [
  ...adapters.flatMap((adapter) => adapter.parameters),
  query.weight,
  query.bias,
  key.weight,
  key.bias,
  ...(value ? [value] : []),
];

/**
 * Σᵢ pᵢ V uᵢ with p = softmax(q · (K uᵢ + b)): of what the adapters add, uᵢ. K goes to the query's side
 * and V behind the sum, so that there are three full products, however many adapters.
 */
export function fuse(
  { query, key, value, adapters }: FusionAttention,
  z: Tensor,
  dropout: number,
  path: string,
  scope: MethodScope,
): Tensor {
  const added = adapters.map((adapter) => adapter.up(z, scope));
  const q = dense(z, query, scope);
  const probe = matmul(q, scope.parameter(key.weight));
  const shift = sum(multiply(q, scope.parameter(key.bias)), [1]);
  const scores = concat(
    added.map((u) => add(sum(multiply(probe, u), [1]), shift)),
    1,
  );
  const shares = softmax(scope.dropout(scores, dropout, `${path} fusion`));
  const mixed = added
    .map((u, i) => multiply(u, slice(shares, 1, i, i + 1)))
    .reduce((total, part) => add(total, part));
  return value ? linear(mixed, scope.parameter(value)) : mixed;
}

/** How value matrices start: 1 on the diagonal, next to nothing elsewhere. */
const nearIdentity = (key: string, size: number): ParameterSpec => ({
  key,
  shape: [size, size],
  initial: async () =>
    Float32Array.from({ length: size * size }, (_, i) => (i % (size + 1) === 0 ? 1 : 1e-6)),
});

/**
 * Σ (V − I)² of V [size, size], as [1, 1]: the diagonal's part apart from the rest, as an identity of a
 * wide model's size would be part of the kernel.
 */
export function distanceFromIdentity(value: Tensor): Tensor {
  const [size] = value.shape as [number, number];
  const places = BigInt64Array.from({ length: size }, (_, i) => BigInt(i * (size + 1)));
  const diagonal = gatherRows(reshape(value, [size * size, 1]), constantTensor(places, [size]));
  const excess = subtract(diagonal, constant(1));
  const squares = (x: Tensor) => sum(multiply(x, x), [0, 1]);
  return add(subtract(squares(value), squares(diagonal)), squares(excess));
}
