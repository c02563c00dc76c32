import { afterAll, expect, it } from "vitest";
import { type BoundMethod, bindMethod, modelDescription } from "../methods/index.ts";
import { architectureFor } from "../models/index.ts";
import { createRuntime } from "../runtime/kernel.ts";
import { evaluateGraph } from "../runtime/testing/evaluate.ts";
import { bytes, floats } from "../runtime/values.ts";
import { input, type Tensor } from "../tensor/index.ts";
import { dropoutMask } from "./dropout.ts";
import { createTracer } from "./trace.ts";

const runtime = createRuntime({ threads: 1 });
afterAll(() => runtime.dispose());

it("drops the share that it is told to, by seed and by site", () => {
  const mask = (seed: number, site: string) =>
    dropoutMask(seed, site, 0.25, [40, 50]).data as Uint8Array;
  const kept = mask(1, "q").reduce((sum, bit) => sum + bit, 0) / 2000;
  expect(Math.abs(kept - 0.75)).toBeLessThan(0.04);
  expect(mask(1, "q")).toEqual(mask(1, "q"));
  expect(mask(1, "q")).not.toEqual(mask(2, "q"));
  expect(mask(1, "q")).not.toEqual(mask(1, "v"));
});

it("scales what it keeps, so that the mean stays", async () => {
  const architecture = architectureFor({
    model_type: "llama",
    hidden_size: 4,
    intermediate_size: 4,
    num_hidden_layers: 1,
    num_attention_heads: 1,
    vocab_size: 4,
  });
  let dropped: Tensor | undefined;
  const method: BoundMethod = {
    name: "probe",
    parameters: [],
    replaces: new Map(),
    linear(path, x, base, scope) {
      dropped = scope.dropout(x, 0.25, path);
      return base(x);
    },
    saved: "checkpoint",
  };
  const shape = { batch: 1, sequence: 2, maskBatch: 1, training: true };
  const tracer = createTracer(
    { architecture, method, weights: { integers: () => undefined, blocks: () => undefined } },
    shape,
  );
  const x = input("x", [2, 4]);
  tracer.scope.linear("model.layers.0.mlp.up_proj", x);
  const [kept] = [...tracer.bindings].find(([, binding]) => binding.kind === "dropout")!;
  const values = new Map([
    [x, floats(Float32Array.of(1, 2, 3, 4, 5, 6, 7, 8), [2, 4])],
    [kept, bytes(Uint8Array.of(1, 1, 0, 1, 1, 0, 1, 1), [2, 4])],
  ]);
  const [result] = await evaluateGraph(runtime, [dropped!], values);
  [1, 2, 0, 4, 5, 0, 7, 8].forEach((value, i) => {
    expect(result![i]).toBeCloseTo(value / 0.75, 5);
  });
});

it("changes DoRA's part of the output alone, as in PEFT", async () => {
  const architecture = architectureFor({
    model_type: "llama",
    hidden_size: 2,
    intermediate_size: 2,
    num_hidden_layers: 1,
    num_attention_heads: 1,
    vocab_size: 4,
  });
  const path = "model.layers.0.mlp.up_proj";
  const method = bindMethod(
    { name: "dora", rank: 1, alpha: 2, targets: ["up_proj"], dropout: 0.5 },
    modelDescription(architecture, "llama", "tiny"),
  );
  const shape = { batch: 1, sequence: 1, maskBatch: 1, training: true };
  const tracer = createTracer(
    { architecture, method, weights: { integers: () => undefined, blocks: () => undefined } },
    shape,
  );
  const x = input("x", [1, 2]);
  const y = tracer.scope.linear(path, x);
  const [w, a, b, m, given] = [
    [1, 2, 3, -1],
    [0.5, 1],
    [1, -2],
    [4, 5],
    [3, 7],
  ] as const;
  const parameters: Record<string, readonly number[]> = {
    "lora_A.weight": a,
    "lora_B.weight": b,
    lora_magnitude_vector: m,
    "lora_magnitude_vector.squares": [5, 10],
  };
  const values = new Map([[x, floats(Float32Array.from(given), [1, 2])]]);
  for (const [tensor, binding] of tracer.bindings) {
    if (binding.kind === "dropout") values.set(tensor, bytes(Uint8Array.of(1, 0), [1, 2]));
    else if (binding.kind === "weight") values.set(tensor, floats(Float32Array.from(w), [2, 2]));
    else if (binding.kind === "parameter") {
      const name = binding.spec.key.split("up_proj.")[1]!;
      values.set(tensor, floats(Float32Array.from(parameters[name]!), binding.spec.shape));
    }
  }
  const [result] = await evaluateGraph(runtime, [y], values);
  const dropped = [given[0] / 0.5, 0] as const;
  for (const out of [0, 1]) {
    const row = [w[2 * out]!, w[2 * out + 1]!] as const;
    const changed = row.map((value, i) => value + 2 * b[out]! * a[i]!);
    const scale = m[out]! / Math.hypot(...changed);
    const of = (values: readonly number[], input: readonly number[]) =>
      values[0]! * input[0]! + values[1]! * input[1]!;
    const expected = of(row, given) + scale * of(changed, dropped) - of(row, dropped);
    expect(result![out]).toBeCloseTo(expected, 4);
  }
});
