// Activation functions that are composed of operators, with gradients in as few passes as they can have.

import { add, constant, erf, exp, multiply, subtract, tanh, withGradient } from "./operators.ts";
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

/**
 * The tanh approximation of `gelu`: x · (1 + tanh u) / 2 with u = √(2/π) · (x + 0.044715 x³)
 * (Hendrycks & Gimpel 2016), as GPT-2 and Gemma have it.
 */
export function geluTanh(x: Tensor): Tensor {
  const [rate, cubic] = [Math.sqrt(2 / Math.PI), 0.044715];
  const half = constant(0.5);
  const square = multiply(x, x);
  const inner = multiply(x, add(multiply(square, constant(rate * cubic)), constant(rate)));
  const bent = tanh(inner);
  const below = add(multiply(bent, half), half);
  const innerSlope = add(multiply(square, constant(3 * rate * cubic)), constant(rate));
  const bend = multiply(subtract(constant(1), multiply(bent, bent)), half);
  const slope = add(below, multiply(multiply(x, bend), innerSlope));
  return withGradient(multiply(x, below), [x], (gradient) => [multiply(gradient, slope)]);
}
