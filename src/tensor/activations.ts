// Activation functions that are composed of operators, with gradients in as few passes as they can have.

import { add, constant, erf, exp, multiply, withGradient } from "./operators.ts";
import type { Tensor } from "./tensor.ts";

/**
 * x · Φ(x) with Φ the normal distribution's own function, not the tanh approximation
 * (Hendrycks & Gimpel 2016); its slope is Φ(x) + x · φ(x), φ the density.
 */
export function gelu(x: Tensor): Tensor {
  const half = constant(0.5);
  const below = add(multiply(erf(multiply(x, constant(Math.SQRT1_2))), half), half);
  const density = multiply(
    exp(multiply(multiply(x, x), constant(-0.5))),
    constant(1 / Math.sqrt(2 * Math.PI)),
  );
  const slope = add(below, multiply(x, density));
  return withGradient(multiply(x, below), [x], (gradient) => [multiply(gradient, slope)]);
}
