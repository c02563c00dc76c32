// Walking, printing and cutting graphs.

import { describe, expect, it } from "vitest";
import { gradient } from "./gradient.ts";
import { add, constant, input, linear, matmul, multiply, tanh, transpose } from "./operators.ts";
import { chooseSaved, isCostly } from "./partition.ts";
import { printGraph } from "./print.ts";
import type { Tensor } from "./tensor.ts";
import { topologicalOrder } from "./traverse.ts";

describe("topologicalOrder", () => {
  it("puts every tensor after its inputs, once, also in graphs deeper than the call stack", () => {
    const x = input("x", [1]);
    let y: Tensor = x;
    for (let i = 0; i < 10_000; i++) y = add(y, x);
    const order = topologicalOrder([y]);
    expect(order).toHaveLength(10_001);
    const place = new Map(order.map((tensor, i) => [tensor, i]));
    for (const tensor of order)
      for (const source of tensor.inputs)
        expect(place.get(source)!).toBeLessThan(place.get(tensor)!);
  });

  it("lists what is given and does not enter it", () => {
    const x = input("x", [1]);
    const middle = tanh(x);
    expect(topologicalOrder([tanh(middle)], new Set([middle]))).not.toContain(x);
  });

  it("serves gradients of graphs deeper than the call stack", () => {
    const x = input("x", [1]);
    let y: Tensor = x;
    for (let i = 0; i < 10_000; i++) y = tanh(y);
    expect(gradient([[y, constant(1)]], [x])[0]).toBeDefined();
  });
});

describe("printGraph", () => {
  const layer = (x: string, w: string) => {
    const [states, weight] = [input(x, [2, 3]), input(w, [4, 3])];
    return { outputs: [tanh(linear(states, weight))], given: [states, weight] };
  };

  it("shows a line for each tensor", () => {
    const { outputs, given } = layer("x", "w");
    expect(printGraph(outputs, given, { named: true })).toMatchInlineSnapshot(`
      "x: float32[2,3]
      w: float32[4,3]
      %2 = matmul(x, w) transposeA=false transposeB=true scale=1: float32[2,4]
      %3 = tanh(%2): float32[2,4]
      return %3"
    `);
  });

  it("gives equal graphs the same text, and others another", () => {
    const [a, b] = [layer("x", "w"), layer("other", "names")];
    expect(printGraph(a.outputs, a.given)).toBe(printGraph(b.outputs, b.given));
    expect(printGraph(a.outputs, a.given)).not.toBe(printGraph(a.outputs, [...a.given].reverse()));
    const scaled = matmul(a.given[0]!, a.given[1]!, { transposeB: true, scale: 2 });
    expect(printGraph([tanh(scaled)], a.given)).not.toBe(printGraph(a.outputs, a.given));
  });

  it("prints a gradient", () => {
    const { outputs, given } = layer("x", "w");
    const seed = input("seed", [2, 4]);
    const gradients = gradient([[outputs[0]!, seed]], given) as Tensor[];
    expect(printGraph(gradients, [...given, seed], { named: true })).toMatchInlineSnapshot(`
      "x: float32[2,3]
      w: float32[4,3]
      seed: float32[2,4]
      %3 = constant() value=1: float32[]
      %4 = matmul(x, w) transposeA=false transposeB=true scale=1: float32[2,4]
      %5 = tanh(%4): float32[2,4]
      %6 = multiply(%5, %5): float32[2,4]
      %7 = subtract(%3, %6): float32[2,4]
      %8 = multiply(seed, %7): float32[2,4]
      %9 = matmul(%8, w) transposeA=false transposeB=false scale=1: float32[2,3]
      %10 = matmul(%8, x) transposeA=true transposeB=false scale=1: float32[4,3]
      return %9, %10"
    `);
  });
});

describe("what is saved between forward and backward", () => {
  const build = (inner: number) => {
    const x = input("x", [2, inner]);
    const w = input("w", [3, inner]);
    const product = linear(x, w);
    const total = add(product, input("residual", [2, 3]));
    const y = multiply(tanh(total), total);
    const gradients = gradient([[y, input("seed", [2, 3])]], [x]) as Tensor[];
    return { product, total, y, gradients };
  };

  it("is the sum that a long product goes into, rather than the product", () => {
    const { y, total, gradients } = build(64);
    expect(chooseSaved([y], gradients, isCostly(64))).toEqual([total]);
  });

  it("is nothing where products are cheap to make again", () => {
    const { y, gradients } = build(16);
    expect(chooseSaved([y], gradients, isCostly(64))).toEqual([]);
  });

  it("counts the inner axis of a transposed operand", () => {
    const a = input("a", [64, 3]);
    const b = input("b", [64, 5]);
    expect(isCostly(64)(matmul(a, b, { transposeA: true }))).toBe(true);
    expect(isCostly(65)(matmul(a, b, { transposeA: true }))).toBe(false);
  });

  it("is no product within a sequence that is larger than what it sums over: scores, not outputs", () => {
    const states = input("states", [2, 300, 256]);
    const scores = matmul(states, states, { transposeB: true });
    expect(isCostly(192)(scores)).toBe(false);
    expect(isCostly(192)(matmul(scores, states))).toBe(true);
  });

  it("is what a product alone becomes, where that is no larger and nothing else reads the product", () => {
    const x = input("x", [2, 64]);
    const turned = transpose(linear(x, input("w", [3, 64])), [1, 0]);
    const y = multiply(tanh(turned), turned);
    const gradients = gradient([[y, input("seed", [3, 2])]], [x]) as Tensor[];
    expect(chooseSaved([y], gradients, isCostly(64))).toEqual([turned]);
    const wide = multiply(turned, input("wide", [5, 3, 2]));
    const square = multiply(wide, wide);
    const ofSquare = gradient([[square, input("seed", square.shape)]], [x]) as Tensor[];
    expect(chooseSaved([square], ofSquare, isCostly(64))).toEqual([turned]);
  });

  it("does not see a sum that widens a product as costly as the product", () => {
    const row = linear(input("x", [1, 64]), input("w", [3, 64]));
    expect(isCostly(64)(add(row, input("wide", [8, 3])))).toBe(false);
  });
});
