// What EVA does with inputs that are told to it; its numbers are compared with PEFT's among the parity
// cases (tests/parity/cases/eva).

import { describe, expect, it } from "vitest";
import { plainProducts } from "../../runtime/linear-algebra/dense-matrix.ts";
import { createRandom } from "../../runtime/random.ts";
import { bindMethod, methodDefinition } from "../registry.ts";
import { describeModel } from "../testing/description.ts";
import type { LoraOptions } from "./lora-options.ts";

const model = describeModel();
const options: LoraOptions = {
  name: "lora",
  rank: 2,
  alpha: 8,
  targets: ["q_proj", "v_proj"],
  layersToTransform: [0, 1],
  init: "eva",
};
const probeOf = (changes: Partial<LoraOptions> = {}) =>
  methodDefinition("lora").fromData!.probe(
    { ...options, ...changes } as LoraOptions,
    model,
    plainProducts,
  )!;
const sites = [0, 1].map((layer) =>
  ["q_proj", "v_proj"].map((name) => `model.layers.${layer}.self_attn.${name}`),
) as [string[], string[]];

const random = createRandom(5);
/** Rows of 64 numbers that vary in their first `directions` of them, less and less. */
function rowsOf(directions: number, rows = 40) {
  const data = new Float32Array(rows * 64);
  for (let row = 0; row < rows; row++)
    for (let i = 0; i < directions; i++) data[row * 64 + i] = random.normal() * 0.6 ** i;
  return { data, rows, columns: 64 };
}

describe("ranks", () => {
  it("go to the layers whose inputs vary in more directions", async () => {
    const probe = probeOf();
    expect([...probe.modules]).toEqual(sites.flat());
    for (let batch = 0, done = false; !done; batch++) {
      await probe.see([...sites[0]].reverse(), rowsOf(1));
      await probe.see(sites[1], rowsOf(6));
      const { settled, modules } = probe.settle();
      expect(modules).toBe(4);
      expect(batch).toBeLessThan(20);
      done = settled === modules;
    }
    const { options: decided, values } = probe.decide();
    expect(decided).toEqual({
      rankPattern: {
        [sites[0][0]!]: 1,
        [sites[0][1]!]: 1,
        [sites[1][0]!]: 3,
        [sites[1][1]!]: 3,
      },
      // Of alpha / rank, which stays 4.
      alphaPattern: {
        [sites[0][0]!]: 4,
        [sites[0][1]!]: 4,
        [sites[1][0]!]: 12,
        [sites[1][1]!]: 12,
      },
    });
    const a = values.get(`base_model.model.${sites[0][0]}.lora_A.weight`)!;
    expect([...a].map((value) => Math.abs(value) > 1e-3)).toEqual(
      Array.from({ length: 64 }, (_, i) => i === 0),
    );
    const bound = bindMethod({ ...options, ...decided } as LoraOptions, model);
    for (const [key, { length }] of values) {
      const spec = bound.parameters.find((each) => each.key === key)!;
      expect(spec.shape).toEqual([length / 64, 64]);
    }
  });

  it("stay as they are, and alpha too, where rho is 1", async () => {
    const probe = probeOf({ evaRho: 1, layersToTransform: [1] });
    do await probe.see(sites[1], rowsOf(6));
    while (probe.settle().settled < 2);
    expect(probe.decide().options).toEqual({ rankPattern: {}, alphaPattern: {} });
  });
});

describe("refuses", () => {
  it("data whose batches show too little", async () => {
    const probe = probeOf();
    for (const paths of sites) await probe.see(paths, rowsOf(6, 3));
    expect(probe.settle().settled).toBe(0);
    expect(() => probe.endPass()).toThrow(/no batch that has 4 for model\.layers\.0/);
    expect(() => probeOf().endPass()).toThrow("data without any batch");
  });

  it("directions that never settle", () => {
    const probe = probeOf();
    expect(() => {
      for (let batch = 0; batch < 2000; batch++) probe.settle();
    }).toThrow("settle within 1000 batches");
  });

  it("a rank that no input has room for", () => {
    expect(() => probeOf({ rank: 40 })).toThrow(
      "rank × evaRho = 80 at model.layers.0.self_attn.q_proj",
    );
  });

  it("layers inside experts, which see only rows that are sent to them", () => {
    const routed = describeModel({
      model_type: "mixtral",
      max_position_embeddings: 128,
      num_local_experts: 2,
      num_experts_per_tok: 1,
      tie_word_embeddings: false,
    });
    const probe = (targets: string[]) =>
      methodDefinition("lora").fromData!.probe(
        { ...options, targets } as LoraOptions,
        routed,
        plainProducts,
      );
    expect(() => probe(["v_proj", "w2"])).toThrow(/in an expert[\s\S]*targets:/);
    expect(probe(["v_proj"])!.modules.size).toBe(2);
  });

  it("the output matrix", () => {
    expect(() => probeOf({ targets: ["lm_head"], layersToTransform: undefined })).toThrow(
      "init: eva adapts the layers inside the blocks",
    );
  });

  it("first values without data", async () => {
    const [a] = bindMethod(options, model).parameters;
    await expect(a!.initial(random, undefined!, undefined!, undefined!)).rejects.toThrow(
      "eva makes first values of data",
    );
  });
});

it("is no business of other initialisations", () => {
  expect(probeOf({ init: true })).toBeUndefined();
});
