import { describe, expect, it } from "vitest";
import {
  clipFactor,
  clipGradients,
  createOptimizer,
  globalGradientNorm,
  isDecayed,
  type OptimizerSettings,
  type TrainableTensor,
  zeroGradients,
} from "./optimizer.ts";

function tensor(name: string, shape: number[], values: number[]): TrainableTensor {
  const data = Float32Array.from(values);
  return { name, shape, data, gradient: new Float32Array(data.length) };
}

function makePair(): [TrainableTensor, TrainableTensor] {
  return [tensor("w.weight", [2, 2], [0.5, -1.25, 2, 0.125]), tensor("w.bias", [2], [0.3, -0.7])];
}

/** The gradients of the script that made the stored numbers. */
function fillGradient({ gradient }: TrainableTensor, step: number): void {
  for (let i = 0; i < gradient.length; i++)
    gradient[i] = Math.sin(1.7 * (i + 1) * (step + 1)) * (0.1 + 0.3 * i);
}

// torch 2.13: six steps, learning rate 1e-2 * (1 - step / 10), weight decay 0.1 on the matrix only,
// clip_grad_norm_ to 0.8; AdamW with betas (0.9, 0.95) and eps 1e-6, SGD with momentum 0.9.
const TORCH_NORMS = [
  0.8972024321556091, 1.0826592445373535, 1.1526007652282715, 1.240317940711975, 0.7927440404891968,
  0.7161654829978943,
];
const TORCH_CASES: { settings: OptimizerSettings; weight: number[]; bias: number[] }[] = [
  {
    settings: { name: "adamw", weightDecay: 0.1, betas: [0.9, 0.95], epsilon: 1e-6 },
    weight: [0.48016634583473206, -1.2340803146362305, 2.0147817134857178, 0.0803963765501976],
    bias: [0.2746356129646301, -0.7143368721008301],
  },
  {
    settings: { name: "sgd", weightDecay: 0.1, momentum: 0.9 },
    weight: [0.49175938963890076, -1.2330940961837769, 1.9956914186477661, 0.05788141489028931],
    bias: [0.29730987548828125, -0.7072591185569763],
  },
];

describe.each(TORCH_CASES)("$settings.name", ({ settings, weight, bias }) => {
  it("walks the path of torch, gradient clipping included", () => {
    const pair = makePair();
    const optimizer = createOptimizer(pair, settings);
    for (let step = 0; step < 6; step++) {
      fillGradient(pair[0], step);
      fillGradient(pair[1], step + 3);
      expect(clipGradients(pair, 0.8)).toBeCloseTo(TORCH_NORMS[step]!, 6);
      optimizer.step(1e-2 * (1 - step / 10));
    }
    for (const [i, value] of weight.entries()) expect(pair[0].data[i]).toBeCloseTo(value, 6);
    for (const [i, value] of bias.entries()) expect(pair[1].data[i]).toBeCloseTo(value, 6);
    expect(optimizer.stepCount).toBe(6);
  });

  it("continues from restored state exactly as if it had never stopped", () => {
    const run = (interrupted: boolean) => {
      const pair = makePair();
      let optimizer = createOptimizer(pair, settings);
      for (let step = 0; step < 8; step++) {
        if (interrupted && step === 5) {
          const kept = new Map([...optimizer.state].map(([name, array]) => [name, array.slice()]));
          const count = optimizer.stepCount;
          optimizer = createOptimizer(pair, settings);
          for (const [name, array] of optimizer.state) array.set(kept.get(name)!);
          optimizer.restoreStepCount(count);
        }
        fillGradient(pair[0], step);
        fillGradient(pair[1], step);
        optimizer.step(1e-2);
      }
      return pair.map(({ data }) => [...data]);
    };
    expect(run(true)).toEqual(run(false));
  });
});

it.each(TORCH_CASES)("$settings.name leaves out what a step has no gradient of", ({ settings }) => {
  const optional = () => ({
    ...tensor("w.weight", [2, 2], [0.5, -1.25, 2, 0.125]),
    hasGradient: false,
  });
  const [missing, steady] = [optional(), optional()];
  const other = tensor("other", [1], [1]);
  const optimizer = createOptimizer([missing, other], settings);
  const reference = createOptimizer([steady], settings);
  for (const [step, isThere] of [true, false, false, true, true].entries()) {
    zeroGradients([missing, steady]);
    const before = missing.data.slice();
    if (isThere) {
      for (const one of [missing, steady]) {
        fillGradient(one, step);
        one.hasGradient = true;
      }
      reference.step(1e-2);
    }
    optimizer.step(1e-2);
    if (!isThere) expect(missing.data).toEqual(before);
    expect(missing.data).toEqual(steady.data);
  }
  expect(other.data[0]).not.toBe(1); // decayed in every step
  const again = createOptimizer([optional(), other], settings);
  for (const [name, values] of optimizer.state)
    expect(again.state.get(name)!.length).toBe(values.length);
});

it("shrinks gradients inside the step as clipGradients does before it", () => {
  const inside = makePair();
  const before = makePair();
  const settings: OptimizerSettings = { name: "adamw", weightDecay: 0.1 };
  const insideOptimizer = createOptimizer(inside, settings);
  const beforeOptimizer = createOptimizer(before, settings);
  for (const pair of [inside, before]) for (const one of pair) fillGradient(one, 1);
  insideOptimizer.step(1e-2, clipFactor(globalGradientNorm(inside), 0.1));
  clipGradients(before, 0.1);
  beforeOptimizer.step(1e-2);
  expect(inside[0].data).toEqual(before[0].data);
});

it("leaves gradients below the limit untouched, and zeroes them on demand", () => {
  const pair = makePair();
  for (const one of pair) fillGradient(one, 2);
  const kept = [...pair[0].gradient];
  clipGradients(pair, 1e6);
  expect([...pair[0].gradient]).toEqual(kept);
  zeroGradients(pair);
  expect(globalGradientNorm(pair)).toBe(0);
});

it("measures the norm, and shows a NaN", () => {
  const odd = tensor("odd", [7], [0, 0, 0, 0, 0, 0, 0]);
  odd.gradient.set([1, 2, 3, 4, 5, 6, 7]);
  expect(globalGradientNorm([odd])).toBeCloseTo(Math.sqrt(140), 12);
  odd.gradient[6] = Number.NaN;
  expect(globalGradientNorm([odd])).toBeNaN();
});

// What transformers 5.23's Trainer.get_decay_parameter_names says of these names.
it.each([
  ["base_model.model.model.layers.0.self_attn.q_proj.lora_A.weight", true],
  ["base_model.model.model.layers.0.self_attn.q_proj.lora_magnitude_vector", true],
  ["base_model.model.model.layers.0.mlp.down_proj.ia3_l", true],
  ["model.embed_tokens.weight", true],
  ["model.layers.0.self_attn.q_proj.bias", false],
  ["model.layers.0.input_layernorm.weight", false],
  ["model.layers.0.self_attn.q_norm.weight", false],
  ["model.norm.weight", false],
  ["transformer.h.0.ln_1.weight", false],
])("decays %s: %s", (name, expected) => {
  expect(isDecayed({ name })).toBe(expected);
});

it("refuses two tensors of one name, whose state could not be told apart", () => {
  const twice = [tensor("same", [1], [0]), tensor("same", [1], [0])];
  expect(() => createOptimizer(twice, { name: "adamw" })).toThrow("a name of its own");
});

it.each(["adamw", "sgd"] as const)("%s gives a tensor a rate of its own", (name) => {
  const [weight, bias] = makePair();
  const [faster, same] = makePair();
  const pair = [{ ...faster, learningRateFactor: 16 }, same];
  const settings: OptimizerSettings = { name, weightDecay: 0.1 };
  const [one, both] = [createOptimizer([weight], settings), createOptimizer(pair, settings)];
  const other = createOptimizer([bias], settings);
  for (let step = 0; step < 3; step++) {
    for (const tensor of [weight, bias, ...pair]) fillGradient(tensor, step);
    one.step(16 * 2 ** -10);
    other.step(2 ** -10);
    both.step(2 ** -10);
  }
  expect([faster.data, same.data]).toEqual([weight.data, bias.data]);
});
