// A prefix made of parameters alone is computed once; one that a text has a part in never is.

import { expect, it } from "vitest";
import type { ParameterSpec } from "../../methods/index.ts";
import { createRuntime } from "../../runtime/kernel.ts";
import { floatData, floats } from "../../runtime/values.ts";
import { add, constant, input, multiply, type Tensor } from "../../tensor/index.ts";
import type { Binding } from "../trace.ts";
import { createFixedPrefixes } from "./fixed-prefix.ts";

const spec: ParameterSpec = {
  key: "p",
  shape: [1, 1, 1, 2],
  initial: async () => new Float32Array(2),
};

it("fixes what depends on parameters alone, once a layer", async () => {
  const runtime = createRuntime({ threads: 1 });
  let bound = 0;
  const fix = createFixedPrefixes(runtime, () => {
    bound++;
    return floats(Float32Array.of(3, 4), spec.shape);
  });
  const parameter = input("p", spec.shape);
  const bindings = new Map<Tensor, Binding>([[parameter, { kind: "parameter", spec }]]);
  const doubled = { keys: multiply(parameter, constant(2)), values: parameter };
  const fixed = fix(0, doubled, bindings)!;
  const [keys, values] = await fixed.computed;
  expect([...floatData(keys!), ...floatData(values!)]).toEqual([6, 8, 3, 4]);
  expect([fixed.keys.operator, fixed.values.operator]).toEqual(["input", "input"]);
  expect(fixed.keys.shape).toEqual(spec.shape);
  expect(fix(0, doubled, bindings)!.computed).toBe(fixed.computed);
  expect(bound).toBe(1);
  await fix(1, doubled, bindings)!.computed;
  expect(bound).toBe(2);

  const states = input("x", spec.shape);
  expect(fix(0, { keys: add(parameter, states), values: parameter }, bindings)).toBeUndefined();
  await runtime.dispose();
});
