// Which of a method's tensors count as trained.

import { expect, it } from "vitest";
import type { ParameterSpec } from "./method.ts";
import { countParameters } from "./parameter-roles.ts";
import { bindMethod } from "./registry.ts";
import { describeModel } from "./testing/description.ts";

it("counts what is trained apart from what is only kept, and shared tensors once", () => {
  const spec = (key: string, size: number, role: Partial<ParameterSpec> = {}): ParameterSpec => ({
    key,
    shape: [size, 2],
    initial: async () => new Float32Array(2 * size),
    ...role,
  });
  const parameters = [
    spec("trained", 1),
    spec("trained", 1),
    spec("frozen", 10, { frozen: true }),
    spec("derived", 100, { frozen: true, derived: true }),
    spec("state", 1000, { state: true }),
  ];
  expect(countParameters({ parameters })).toEqual({ trained: 2, untrained: 2 * 1110 });
});

it("leaves out what AdaLoRA's schedule remembers", () => {
  const { parameters } = bindMethod({ name: "adalora", targets: ["q_proj"] }, describeModel());
  const counts = countParameters({ parameters });
  const factors = parameters.filter(({ key }) => /\.lora_[ABE]$/.test(key));
  expect(counts.trained).toBe(
    factors.reduce((sum, { shape }) => sum + shape.reduce((size, length) => size * length, 1), 0),
  );
  // Two running means of each factor, a mark for each triplet, and the plan.
  expect(counts.untrained).toBeGreaterThan(2 * counts.trained);
});
