// DoRA (Liu et al. 2024): the rows of W + s B A are given lengths m of their own, which are trained;
// W' = (m / n) · (W + s B A), with n the rows' norms, a constant to differentiation (section 4.3).
// n needs no matrix of the weight's size: n² = |W|² + 2 s (W Aᵀ) · B + s² (B A Aᵀ) · B, row by row,
// of which |W|² is known when a model is opened.

import {
  add,
  constant,
  divide,
  linear,
  matmul,
  multiply,
  relu,
  reshape,
  sqrt,
  stopGradient,
  sum,
  type Tensor,
} from "../../tensor/index.ts";
import type { MethodScope, ParameterSpec } from "../method.ts";
import { addProduct, type LoraProduct, strides } from "./lora-product.ts";

export interface DoraParts {
  /** m, [out]; starts as the norms, so that nothing changes. */
  readonly magnitude: ParameterSpec;
  /** |W|² of every row, [out]. */
  readonly squares: ParameterSpec;
}

/** Σ over the input of W², for every output. */
function squaredNorms(site: LoraProduct, data: Float32Array): Float64Array {
  const { outputSize, inputSize } = site;
  const stride = strides(site);
  return Float64Array.from({ length: outputSize }, (_, out) => {
    let total = 0;
    for (let i = 0; i < inputSize; i++) total += data[out * stride.out + i * stride.in]! ** 2;
    return total;
  });
}

/**
 * @param startsInBase whether s · B A is a part of W at first, so that together they are W
 */
export function doraParts(
  site: LoraProduct,
  startsInBase: boolean,
  rate: Pick<ParameterSpec, "learningRateFactor">,
): DoraParts {
  const { path, weight, outputSize: size, a, b } = site;
  const key = `base_model.model.${path}.lora_magnitude_vector`;
  return {
    magnitude: {
      key,
      shape: [size],
      ...rate,
      async initial(random, ...sources) {
        const data = await sources[0](weight);
        if (!startsInBase) {
          const [first, second] = [
            await a.initial(random, ...sources),
            await b.initial(random, ...sources),
          ];
          addProduct(site, data, (spec) => (spec === a ? first : second));
        }
        return Float32Array.from(squaredNorms(site, data), Math.sqrt);
      },
    },
    squares: {
      key: `${key}.squares`,
      shape: [size],
      frozen: true,
      derived: true,
      initial: async (_, base) => Float32Array.from(squaredNorms(site, await base(weight))),
    },
  };
}

/** m / n, [out]. */
export function doraScale(site: LoraProduct, parts: DoraParts, scope: MethodScope): Tensor {
  const { kind, path, scaling, outputSize } = site;
  const [a, b] = [scope.parameter(site.a), scope.parameter(site.b)];
  const weight = scope.weight(`${path}.weight`);
  const along =
    kind === "embedding"
      ? matmul(weight, a, { transposeA: true, transposeB: true })
      : linear(weight, a);
  const own = matmul(b, linear(a, a));
  const mixed = add(multiply(along, constant(2 * scaling)), multiply(own, constant(scaling ** 2)));
  const added = reshape(sum(multiply(b, mixed), [1]), [outputSize]);
  const squares = relu(add(scope.parameter(parts.squares), added));
  // A row of nothing but zeros has no direction; it stays zero instead of becoming no number.
  const norms = stopGradient(sqrt(add(squares, constant(1e-30))));
  return divide(scope.parameter(parts.magnitude), norms);
}

/** Gives the rows of a weight that has become W + s B A the lengths `magnitude`. */
export function rescaleRows(site: LoraProduct, data: Float32Array, magnitude: Float32Array): void {
  const stride = strides(site);
  squaredNorms(site, data).forEach((square, out) => {
    const factor = magnitude[out]! / Math.sqrt(square + 1e-30);
    for (let i = 0; i < site.inputSize; i++) data[out * stride.out + i * stride.in]! *= factor;
  });
}
