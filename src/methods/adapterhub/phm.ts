// Parameterised hypercomplex multiplication (Zhang et al. 2021) as Compacter has it (Mahabadi et al.
// 2021): the weight is a sum of Kronecker products, H = Σ_k rule_k ⊗ W_k, with W_k of low rank.
// Reference: `PHMLayer` of AdapterHub's library.

import {
  add,
  linear,
  matmul,
  multiply,
  reshape,
  type Tensor,
  transpose,
} from "../../tensor/index.ts";
import type { MethodScope, ParameterSpec } from "../method.ts";
import { filledSpec, normalSpec } from "../parts/initial-values.ts";
import type { Product } from "../parts/product.ts";
import type { BottleneckSettings } from "./bottleneck-options.ts";

/** The deviations with which rules start: shared ones, and those of a layer alone. */
const RULE_DEVIATION = { shared: 1e-4, own: 0.01 } as const;

type PhmSettings = Pick<
  BottleneckSettings,
  | "phmDimension"
  | "phmRank"
  | "phmSharedRule"
  | "phmFactorizedRule"
  | "phmSharedWeights"
  | "phmFactorizedWeights"
  | "phmBias"
>;

interface PhmSite {
  /** The layer's own prefix in the file. */
  readonly key: string;
  /** The prefix of what all layers share. */
  readonly sharedKey: string;
  readonly position: "down" | "up";
  readonly inputs: number;
  readonly outputs: number;
}

/** @param site whose widths the dimension divides */
export function phmProduct(settings: PhmSettings, site: PhmSite): Product {
  const { phmDimension: size } = settings;
  const { key, inputs, outputs } = site;
  const rule = ruleFactors(settings, site);
  const weights = weightFactors(settings, site);
  const bias = settings.phmBias ? filledSpec(`${key}.b`, [outputs], 0) : undefined;
  const [rows, columns] = [inputs / size, outputs / size];

  /** [out, in], the transpose of H. */
  const matrix = (scope: MethodScope): Tensor => {
    const rules = reshape(product(rule, scope), [size, size * size]);
    const parts = reshape(product(weights, scope), [size, rows * columns]);
    // [rule row and column, weight row and column] = Σ_k rule_k · W_k
    const all = matmul(rules, parts, { transposeA: true });
    const split = reshape(all, [size, size, rows, columns]);
    return reshape(transpose(split, [1, 3, 0, 2]), [outputs, inputs]);
  };
  return {
    parameters: [...rule, ...weights, ...(bias ? [bias] : [])],
    apply(x, scope, scale) {
      const weight = matrix(scope);
      if (!scale) return withBias(linear(x, weight), bias && scope.parameter(bias));
      const scaled = linear(x, multiply(weight, reshape(scale, [scale.shape[0] ?? 1, 1])));
      return withBias(scaled, bias && multiply(scope.parameter(bias), scale));
    },
  };
}

const withBias = (x: Tensor, bias: Tensor | undefined): Tensor => (bias ? add(x, bias) : x);

/** One tensor, or the product of two for each of its leading entries. */
const product = (factors: readonly ParameterSpec[], scope: MethodScope): Tensor => {
  const [first, second] = factors.map((spec) => scope.parameter(spec));
  return second ? matmul(first!, second) : first!;
};

function ruleFactors(
  { phmDimension: size, phmSharedRule, phmFactorizedRule }: PhmSettings,
  { key, sharedKey }: PhmSite,
): ParameterSpec[] {
  const name = `${phmSharedRule ? sharedKey : key}.phm_rule`;
  const deviation = phmSharedRule ? RULE_DEVIATION.shared : RULE_DEVIATION.own;
  return phmFactorizedRule
    ? [
        normalSpec(`${name}_left`, [size, size, 1], deviation),
        normalSpec(`${name}_right`, [size, 1, size], deviation),
      ]
    : [normalSpec(name, [size, size, size], deviation)];
}

/** Glorot's normal start (Glorot & Bengio 2010), whichever the configuration names: the library's. */
const glorotSpec = (key: string, shape: readonly [number, number, number]): ParameterSpec =>
  normalSpec(key, shape, Math.sqrt(2 / (shape[1] + shape[2])));

function weightFactors(
  { phmDimension: size, phmRank, phmSharedWeights, phmFactorizedWeights }: PhmSettings,
  { key, sharedKey, position, inputs, outputs }: PhmSite,
): ParameterSpec[] {
  const name = phmSharedWeights ? `${sharedKey}.W_${position}` : `${key}.W`;
  const [rows, columns] = [inputs / size, outputs / size];
  return phmFactorizedWeights
    ? [
        glorotSpec(`${name}_left`, [size, rows, phmRank]),
        glorotSpec(`${name}_right`, [size, phmRank, columns]),
      ]
    : [glorotSpec(name, [size, rows, columns])];
}
