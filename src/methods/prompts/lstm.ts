// A long short-term memory (Hochreiter & Schmidhuber 1997) with PyTorch's gates, unrolled over a short
// sequence. Its gradient goes back through time by hand: the recurrent matrix's is then one product
// over all steps instead of a sum of as many matrices.

import {
  add,
  broadcast,
  concat,
  constant,
  linear,
  matmul,
  multiply,
  sigmoid,
  slice,
  subtract,
  type Tensor,
  tanh,
  withGradient,
} from "../../tensor/index.ts";

interface Step {
  readonly input: Tensor;
  readonly forget: Tensor;
  readonly cell: Tensor;
  readonly output: Tensor;
  /** The memory behind this step, and its tanh. */
  readonly memory: Tensor;
  readonly shown: Tensor;
  readonly hidden: Tensor;
}

/**
 * i, f, g, o = σ, σ, tanh, σ of x_t + R h, c' = f c + i g, h' = o tanh(c'), from zero states.
 * @param projected what the inputs give to the gates, biases included, [steps, 4 · size] in that order
 * @param recurrent R, [4 · size, size]
 * @param backwards whether the last step comes first
 * @returns h of each step, [steps, size]
 */
export function lstm(projected: Tensor, recurrent: Tensor, backwards: boolean): Tensor {
  const steps = projected.shape[0]!;
  const size = recurrent.shape[1]!;
  const order = Array.from({ length: steps }, (_, i) => (backwards ? steps - 1 - i : i));
  const at = (x: Tensor, t: number) => slice(x, 0, t, t + 1);
  const inTime = (rows: readonly Tensor[]) => concat(backwards ? rows.toReversed() : rows, 0);

  const made: Step[] = [];
  for (const t of order) {
    const previous = made.at(-1);
    const own = at(projected, t);
    const gates = previous ? add(own, linear(previous.hidden, recurrent)) : own;
    const [input, forget, cell, output] = [sigmoid, sigmoid, tanh, sigmoid].map((squash, i) =>
      squash(slice(gates, 1, i * size, (i + 1) * size)),
    ) as [Tensor, Tensor, Tensor, Tensor];
    const added = multiply(input, cell);
    const memory = previous ? add(multiply(forget, previous.memory), added) : added;
    const shown = tanh(memory);
    made.push({ input, forget, cell, output, memory, shown, hidden: multiply(output, shown) });
  }
  const hidden = inTime(made.map((step) => step.hidden));

  return withGradient(hidden, [projected, recurrent], (gradient) => {
    const none = broadcast(constant(0), [1, size]);
    const ofGates: Tensor[] = [];
    let ofMemory: Tensor | undefined;
    for (let i = steps - 1; i >= 0; i--) {
      const { input, forget, cell, output, shown } = made[i]!;
      const later = ofGates[0];
      const arriving = at(gradient, order[i]!);
      const ofHidden = later ? add(arriving, matmul(later, recurrent)) : arriving;
      const shownPart = multiply(multiply(ofHidden, output), squareRest(shown));
      const ofOwn: Tensor = ofMemory ? add(shownPart, ofMemory) : shownPart;
      const before = made[i - 1]?.memory;
      ofGates.unshift(
        concat(
          [
            multiply(multiply(ofOwn, cell), sigmoidSlope(input)),
            before ? multiply(multiply(ofOwn, before), sigmoidSlope(forget)) : none,
            multiply(multiply(ofOwn, input), squareRest(cell)),
            multiply(multiply(ofHidden, shown), sigmoidSlope(output)),
          ],
          1,
        ),
      );
      ofMemory = multiply(ofOwn, forget);
    }
    const earlier = made.slice(0, -1).map((step) => step.hidden);
    const ofRecurrent =
      steps > 1
        ? matmul(concat(ofGates.slice(1), 0), concat(earlier, 0), { transposeA: true })
        : multiply(recurrent, constant(0));
    return [inTime(ofGates), ofRecurrent];
  });
}

const sigmoidSlope = (y: Tensor) => multiply(y, subtract(constant(1), y));
const squareRest = (y: Tensor) => subtract(constant(1), multiply(y, y));
