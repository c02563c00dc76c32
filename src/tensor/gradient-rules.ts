// How each operator passes a gradient to its inputs. The table is exhaustive by type: an operator
// without an entry does not compile, and one without a gradient says why.

import { TunesmithError } from "../errors.ts";
import {
  add,
  broadcast,
  concat,
  constant,
  cos,
  divide,
  exp,
  inverseRms,
  matmul,
  meanLast,
  multiply,
  negate,
  reshape,
  rotary,
  sigmoid,
  sign,
  sin,
  slice,
  subtract,
  sum,
  sumTo,
  transpose,
} from "./operators.ts";
import { gatherRows, greaterOrEqual, scatterRows, where } from "./selection.ts";
import type { OperatorName, Tensor, TensorOf } from "./tensor.ts";

/** For output `y` and its gradient: one function an input, called only where it is wanted. */
type Rule<O extends OperatorName> = (
  y: TensorOf<O>,
  gradient: Tensor,
) => readonly (() => Tensor | undefined)[];

function notDifferentiable(reason: string) {
  return (y: { operator: string }): never => {
    throw new TunesmithError("shape", {
      where: `operator ${y.operator}`,
      rule: "has no gradient",
      seen: reason,
      fix: "wrap its input in stopGradient",
    });
  };
}

const none = () => undefined;
/** For functions that are constant almost everywhere: their gradient is zero. */
const flat = (y: { inputs: readonly Tensor[] }) => y.inputs.map(() => none);
const in0 = (y: { inputs: readonly Tensor[] }): Tensor => y.inputs[0]!;
const in1 = (y: { inputs: readonly Tensor[] }): Tensor => y.inputs[1]!;
const asTensor = (y: unknown): Tensor => y as Tensor;

const gradientRules = {
  input: () => [],
  constant: () => [],
  constantTensor: () => [],
  add: (y, d) => [() => sumTo(d, in0(y).shape), () => sumTo(d, in1(y).shape)],
  subtract: (y, d) => [() => sumTo(d, in0(y).shape), () => sumTo(negate(d), in1(y).shape)],
  multiply: (y, d) => [
    () => sumTo(multiply(d, in1(y)), in0(y).shape),
    () => sumTo(multiply(d, in0(y)), in1(y).shape),
  ],
  divide: (y, d) => [
    () => sumTo(divide(d, in1(y)), in0(y).shape),
    () => sumTo(negate(divide(multiply(d, asTensor(y)), in1(y))), in1(y).shape),
  ],
  negate: (_y, d) => [() => negate(d)],
  exp: (y, d) => [() => multiply(d, asTensor(y))],
  log: (y, d) => [() => divide(d, in0(y))],
  sqrt: (y, d) => [() => multiply(divide(d, asTensor(y)), constant(0.5))],
  sin: (y, d) => [() => multiply(d, cos(in0(y)))],
  cos: (y, d) => [() => negate(multiply(d, sin(in0(y))))],
  abs: (y, d) => [() => multiply(d, sign(in0(y)))],
  sign: flat,
  sigmoid: (y, d) => [() => multiply(d, multiply(asTensor(y), subtract(constant(1), asTensor(y))))],
  // σ(x) · (1 + x − y)
  silu: (y, d) => [
    () => {
      const slope = add(subtract(in0(y), asTensor(y)), constant(1));
      return multiply(d, multiply(sigmoid(in0(y)), slope));
    },
  ],
  tanh: (y, d) => [() => multiply(d, subtract(constant(1), multiply(asTensor(y), asTensor(y))))],
  // d erf(x) / dx = 2 / sqrt(π) · exp(−x²)
  erf: (y, d) => [
    () => {
      const bell = exp(negate(multiply(in0(y), in0(y))));
      return multiply(d, multiply(bell, constant(2 / Math.sqrt(Math.PI))));
    },
  ],
  // Nothing passes at 0 itself.
  relu: (y, d) => [() => where(greaterOrEqual(constant(0), in0(y)), constant(0), d)],
  matmul: (y, d) => {
    const [a, b] = [in0(y), in1(y)];
    const { transposeA, transposeB, scale } = y.attributes;
    return [
      () => {
        const wide = transposeA
          ? matmul(b, d, { transposeA: transposeB, transposeB: true, scale })
          : matmul(d, b, { transposeB: !transposeB, scale });
        return sumTo(wide, a.shape);
      },
      () => {
        // A shared [k, n] right operand sums over all rows of all leading axes.
        const asMatrix = (t: Tensor) =>
          b.shape.length === 2 && t.shape.length > 2 ? reshape(t, [rowsOf(t), t.shape.at(-1)!]) : t;
        const wide = transposeB
          ? matmul(asMatrix(d), asMatrix(a), { transposeA: true, transposeB: transposeA, scale })
          : matmul(asMatrix(a), asMatrix(d), { transposeA: !transposeA, scale });
        return sumTo(wide, b.shape);
      },
    ];
  },
  rowScales: notDifferentiable("rounding has none; see integerLinear"),
  rowCodes: notDifferentiable("rounding has none; see integerLinear"),
  integerMatmul: notDifferentiable("rounding has none; see integerLinear"),
  blockLinear: notDifferentiable("weights in blocks are for running a model; see `quantize`"),
  cachedAttention: notDifferentiable("it exists for generation"),
  cachedKeys: notDifferentiable("it exists for generation"),
  cachedValues: notDifferentiable("it exists for generation"),
  // d (A⁻¹) = −A⁻¹ · dA · A⁻¹ (Giles 2008, section 2.2.3).
  inverse: (y, d) => [
    () => {
      const left = matmul(asTensor(y), d, { transposeA: true, scale: -1 });
      return matmul(left, asTensor(y), { transposeB: true });
    },
  ],
  sum: (y, d) => [() => broadcast(d, in0(y).shape)],
  maximum: notDifferentiable("a maximum's gradient is not unique"),
  softmax: (y, d) => [
    () => {
      const product = multiply(d, asTensor(y));
      const rowSum = sum(product, [y.shape.length - 1]);
      return subtract(product, multiply(asTensor(y), rowSum));
    },
  ],
  // With r = 1 / rms(x) and g = d · w: dx = r · g − x · r³ · mean(g · x); dw = Σ d · x · r.
  rmsNorm: (y, d) => {
    const [x, weight] = [in0(y), in1(y)];
    const r = inverseRms(x, weight, y.attributes.epsilon);
    return [
      () => {
        const g = multiply(d, weight);
        const coefficient = multiply(multiply(r, multiply(r, r)), meanLast(multiply(g, x)));
        return subtract(multiply(g, r), multiply(x, coefficient));
      },
      () => sumTo(multiply(d, multiply(x, r)), weight.shape),
    ];
  },
  inverseRms: notDifferentiable("it exists for the gradient of rmsNorm only"),
  reshape: (y, d) => [() => reshape(d, in0(y).shape)],
  transpose: (y, d) => [
    () => {
      const inverse: number[] = [];
      y.attributes.permutation.forEach((axis, i) => {
        inverse[axis] = i;
      });
      return transpose(d, inverse);
    },
  ],
  slice: (y, d) => [
    () => {
      const { axis, start, end } = y.attributes;
      const x = in0(y);
      const zeros = (length: number) =>
        length > 0
          ? [
              broadcast(
                constant(0),
                x.shape.map((old, i) => (i === axis ? length : old)),
              ),
            ]
          : [];
      return concat([...zeros(start), d, ...zeros(x.shape[axis]! - end)], axis);
    },
  ],
  concat: (y, d) => {
    let offset = 0;
    return y.inputs.map((part) => {
      const start = offset;
      offset += part.shape[y.attributes.axis]!;
      const end = offset;
      return () => slice(d, y.attributes.axis, start, end);
    });
  },
  broadcast: (y, d) => [() => sumTo(d, in0(y).shape)],
  // A rotation's transpose is the rotation by the opposite angle.
  rotary: (y, d) => {
    const [, positions, cosines, sines] = y.inputs;
    const { heads, interleaved } = y.attributes;
    return [
      () => rotary(d, positions!, cosines!, negate(sines!), heads, interleaved),
      none,
      none,
      none,
    ];
  },
  gatherRows: (y, d) => [() => scatterRows(d, in1(y), in0(y).shape[0]!), none],
  scatterRows: (y, d) => [() => gatherRows(d, in1(y)), none],
  greaterOrEqual: flat,
  where: (y, d) => {
    const [condition, a, b] = y.inputs as readonly [Tensor, Tensor, Tensor];
    return [
      none,
      () => sumTo(where(condition, d, constant(0)), a.shape),
      () => sumTo(where(condition, constant(0), d), b.shape),
    ];
  },
  topMask: flat,
  toFloat: flat,
  stopGradient: () => [none],
  withGradient: (y, d) => {
    let gradients: readonly (Tensor | undefined)[] | undefined;
    const at = (i: number) => () => {
      gradients ??= y.attributes.rule(d);
      return gradients[i];
    };
    return [none, ...y.inputs.slice(1).map((_, i) => at(i))];
  },
} satisfies { [O in OperatorName]: Rule<O> };

const rowsOf = (t: Tensor): number => t.shape.slice(0, -1).reduce((a, b) => a * b, 1);

/** The rule of a node, with the table's per-operator typing bridged in one place. */
export function gradientsOf(y: Tensor, gradient: Tensor): readonly (() => Tensor | undefined)[] {
  const rule = gradientRules[y.operator] as unknown as (
    y: Tensor,
    gradient: Tensor,
  ) => readonly (() => Tensor | undefined)[];
  return rule(y, gradient);
}

export { add as accumulate };
