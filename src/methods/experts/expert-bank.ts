// The low-rank experts beside one linear module. All of them are two products: their A stand below each
// other, their B beside each other, and what lies between is weighted by expert. An expert that a token
// is not routed to has weight zero there.

import { concat, constant, linear, multiply, reshape, type Tensor } from "../../tensor/index.ts";
import type { MethodScope, ParameterSpec } from "../method.ts";
import { uniformSpec, zeroSpec } from "../parts/initial-values.ts";
import type { LinearModule } from "../targets.ts";

export interface ExpertBank {
  readonly rank: number;
  readonly scaling: number;
  /** [rank, in] of each expert. */
  readonly a: readonly ParameterSpec[];
  /** [out, rank] of each expert. */
  readonly b: readonly ParameterSpec[];
}

export interface ExpertSizes {
  readonly experts: number;
  readonly rank: number;
  readonly alpha: number;
}

/** Experts of a module, A as PyTorch's linear layers start and B from zero. */
export function expertBank(
  { inputSize, outputSize }: LinearModule,
  { experts, rank, alpha }: ExpertSizes,
  key: (matrix: "A" | "B", expert: number) => string,
): ExpertBank {
  const each = (make: (expert: number) => ParameterSpec) =>
    Array.from({ length: experts }, (_, expert) => make(expert));
  return {
    rank,
    scaling: alpha / rank,
    a: each((expert) => uniformSpec(key("A", expert), [rank, inputSize], inputSize)),
    b: each((expert) => zeroSpec(key("B", expert), [outputSize, rank])),
  };
}

/** A x of all experts, [rows, experts · rank]. */
export const lower = (bank: ExpertBank, x: Tensor, scope: MethodScope): Tensor =>
  linear(x, concat(bank.a.map(scope.parameter), 0));

/** What `lower` gave, each expert's part times its weight; `weights` is [rows, experts]. */
export function weigh({ a, rank }: ExpertBank, low: Tensor, weights: Tensor): Tensor {
  const [rows, experts] = [low.shape[0]!, a.length];
  const parts = reshape(low, [rows, experts, rank]);
  const weighted = multiply(parts, reshape(weights, [rows, experts, 1]));
  return reshape(weighted, [rows, experts * rank]);
}

/** The sum over experts of s · B low, [rows, out]. */
export const raise = (bank: ExpertBank, low: Tensor, scope: MethodScope): Tensor =>
  linear(multiply(low, constant(bank.scaling)), concat(bank.b.map(scope.parameter), 1));
