// Which tensors of a graph need no node of their own, because ONNX Runtime computes them as part
// of another one: sums with a matrix product, the two results of a norm, and mere aliases.

import type { Tensor, TensorOf } from "../tensor/index.ts";
import { sameShape } from "../tensor/index.ts";

export type CacheOperator = "cachedKeys" | "cachedValues";

export interface Fusions {
  /** Sums that are written as Gemm(a, b, addend). */
  readonly gemms: ReadonlyMap<
    Tensor,
    { readonly product: TensorOf<"matmul"> & Tensor; readonly addend: Tensor }
  >;
  /** rmsNorm and inverseRms of the same input, each to the other. */
  readonly twins: ReadonlyMap<Tensor, Tensor>;
  /** The caches that a `cachedAttention` writes. */
  readonly caches: ReadonlyMap<Tensor, Readonly<Partial<Record<CacheOperator, Tensor>>>>;
  /** Tensors that another one's node computes. */
  readonly folded: ReadonlySet<Tensor>;
}

/** The tensor whose value this one has: differentiation's markers compute nothing. */
export function standsFor(tensor: Tensor, given: ReadonlySet<Tensor>): Tensor {
  let value = tensor;
  while (
    !given.has(value) &&
    (value.operator === "withGradient" || value.operator === "stopGradient")
  )
    value = value.inputs[0]!;
  return value;
}

export function planFusions(
  order: readonly Tensor[],
  outputs: readonly Tensor[],
  given: ReadonlySet<Tensor>,
): Fusions {
  const uses = new Map<Tensor, number>();
  const use = (tensor: Tensor) => {
    const value = standsFor(tensor, given);
    uses.set(value, (uses.get(value) ?? 0) + 1);
  };
  for (const tensor of order)
    if (!given.has(tensor) && standsFor(tensor, given) === tensor) tensor.inputs.forEach(use);
  for (const output of outputs) use(output);

  const gemms = new Map<Tensor, { product: TensorOf<"matmul"> & Tensor; addend: Tensor }>();
  const twins = new Map<Tensor, Tensor>();
  const caches = new Map<Tensor, Partial<Record<CacheOperator, Tensor>>>();
  const folded = new Set<Tensor>();
  const norms = new Map<Tensor, Tensor[]>();
  for (const tensor of order) {
    if (given.has(tensor)) continue;
    if (tensor.operator === "add") {
      const [a, b] = tensor.inputs.map((side) => standsFor(side, given)) as [Tensor, Tensor];
      for (const [product, addend] of [[a, b] as const, [b, a] as const]) {
        if (product.operator !== "matmul" || given.has(product) || product.shape.length !== 2)
          continue;
        if (uses.get(product) !== 1 || folded.has(product)) continue;
        const isRow = addend.shape.length === 1 && addend.shape[0] === product.shape[1];
        if (!isRow && !sameShape(addend.shape, product.shape)) continue;
        gemms.set(tensor, { product, addend });
        folded.add(product);
        break;
      }
    } else if (tensor.operator === "cachedKeys" || tensor.operator === "cachedValues") {
      const attention = tensor.inputs[0]!;
      caches.set(attention, { ...caches.get(attention), [tensor.operator]: tensor });
      folded.add(tensor);
    } else if (tensor.operator === "rmsNorm" || tensor.operator === "inverseRms") {
      const others = norms.get(tensor.inputs[0]!) ?? [];
      norms.set(tensor.inputs[0]!, [...others, tensor]);
      const twin = others.find(
        (other) =>
          other.operator !== tensor.operator &&
          other.inputs[1] === tensor.inputs[1] &&
          (other.attributes as { epsilon: number }).epsilon === tensor.attributes.epsilon,
      );
      if (!twin || twins.has(twin)) continue;
      twins.set(twin, tensor).set(tensor, twin);
      folded.add(tensor);
    }
  }
  return { gemms, twins, caches, folded };
}
