// The decompositions behind "olora" and "pissa" against what defines them, and what LoRA declares
// with an initialisation that is a part of the base.

import { describe, expect, it } from "vitest";
import type { DenseMatrix } from "../../runtime/linear-algebra/dense-matrix.ts";
import { leadingQr } from "../../runtime/linear-algebra/qr.ts";
import {
  leadingTriplets,
  type SingularTriplets,
  sampledTriplets,
  trailingVectors,
} from "../../runtime/linear-algebra/singular-vectors.ts";
import { createRandom } from "../../runtime/random.ts";
import { arrayDifference } from "../../runtime/testing/array-difference.ts";
import type { ModelDescription, ParameterSpec } from "../method.ts";
import { bindMethod } from "../registry.ts";
import { noVocabulary } from "../testing/description.ts";
import type { LoraConfig } from "./lora-config.ts";
import type { LoraInit } from "./lora-init.ts";
import type { LoraOptions } from "./lora-options.ts";

type Vectors = readonly Float64Array[];

/** Σ factors[i] · left[i] right[i]ᵀ. */
function sumOfProducts(left: Vectors, right: Vectors, factors: readonly number[]): Float64Array {
  const [rows, columns] = [left[0]!.length, right[0]!.length];
  const sum = new Float64Array(rows * columns);
  factors.forEach((factor, i) => {
    for (let row = 0; row < rows; row++)
      for (let column = 0; column < columns; column++)
        sum[row * columns + column]! += factor * left[i]![row]! * right[i]![column]!;
  });
  return sum;
}

/** How far vectors are from being orthonormal: the largest element of |V Vᵀ - 1|. */
const skew = (vectors: Vectors): number =>
  Math.max(
    ...vectors.flatMap((a, i) =>
      vectors.map((b, j) =>
        Math.abs(a.reduce((sum, x, k) => sum + x * b[k]!, 0) - (i === j ? 1 : 0)),
      ),
    ),
  );

const orthonormalVectors = (count: number, length: number, seed: number): Vectors => {
  const random = createRandom(seed);
  const data = Float32Array.from({ length: length * count }, () => random.normal());
  return leadingQr({ data, rows: length, columns: count }, count, random).q;
};

/** A matrix with given singular values, and its vectors. */
function matrixOf(rows: number, columns: number, values: readonly number[]) {
  const left = orthonormalVectors(values.length, rows, 1);
  const right = orthonormalVectors(values.length, columns, 2);
  const weight: DenseMatrix = {
    data: Float32Array.from(sumOfProducts(left, right, values)),
    rows,
    columns,
  };
  return { weight, left, right };
}

const best = (count: number, { left, right }: ReturnType<typeof matrixOf>, values: number[]) =>
  sumOfProducts(left.slice(0, count), right.slice(0, count), values.slice(0, count));

const productOf = ({ left, right, values }: SingularTriplets) => sumOfProducts(left, right, values);

describe("the leading part of a QR decomposition", () => {
  it.each([
    [12, 7, 3],
    [7, 12, 7],
    [5, 5, 5],
  ])("of a [%i, %i] weight, %i columns of Q", (rows, columns, count) => {
    const random = createRandom(3);
    const data = Float32Array.from({ length: rows * columns }, () => random.normal());
    const { q, r } = leadingQr({ data, rows, columns }, count, random);
    expect(skew(q)).toBeLessThan(1e-14);
    for (const [i, row] of r.entries()) {
      expect(row[i]).toBeGreaterThan(0);
      expect([...row.subarray(0, i)]).toEqual(new Array(i).fill(0));
    }
    // The first columns of W are those of Q R to the last bit of a double.
    const product = sumOfProducts(q, r, new Array(count).fill(1));
    const firstColumns = (values: ArrayLike<number>) =>
      Array.from({ length: rows * count }, (_, i) => {
        const [row, column] = [Math.floor(i / count), i % count];
        return values[row * columns + column]!;
      });
    expect(arrayDifference(firstColumns(product), firstColumns(data))).toBeLessThan(1e-14);
  });

  it("draws a direction where a column adds none", () => {
    const { data } = matrixOf(6, 6, [2]).weight;
    const { q, r } = leadingQr({ data, rows: 6, columns: 6 }, 4, createRandom(1));
    expect(skew(q)).toBeLessThan(1e-14);
    expect(arrayDifference(sumOfProducts(q, r, [1, 1, 1, 1]), data)).toBeLessThan(1e-6);
  });
});

describe("the leading singular triplets", () => {
  const slow = Array.from({ length: 90 }, (_, i) => 30 * 0.97 ** i);

  it.each([
    [120, 90, 8],
    [90, 120, 8],
    [90, 90, 40],
    [90, 90, 90],
  ])("of a [%i, %i] weight whose values fall slowly, %i of them", (rows, columns, count) => {
    const made = matrixOf(rows, columns, slow);
    const found = leadingTriplets(made.weight, count, createRandom(5));
    expect(found.values).toHaveLength(count);
    expect(arrayDifference(found.values, slow.slice(0, count))).toBeLessThan(1e-6);
    expect(skew(found.left)).toBeLessThan(1e-9);
    expect(skew(found.right)).toBeLessThan(1e-6);
    expect(arrayDifference(productOf(found), best(count, made, slow))).toBeLessThan(1e-5);
  });

  it("do not depend on the seed, but for rounding", () => {
    const { weight } = matrixOf(90, 120, slow);
    const [a, b] = [1, 2].map((seed) => productOf(leadingTriplets(weight, 8, createRandom(seed))));
    expect(arrayDifference(a!, b!)).toBeLessThan(1e-8);
  });

  it.each<[string, number[]]>([
    ["values far apart", [1e4, 1, 1e-3]],
    ["fewer values than are asked for", [5, 4]],
    ["equal values", [7, 7, 7, 7, 7, 7]],
    ["nothing but zeros", [0]],
  ])("of a weight with %s", (_, values) => {
    const { weight } = matrixOf(60, 50, values);
    const found = leadingTriplets(weight, 6, createRandom(1));
    expect(arrayDifference(productOf(found), weight.data)).toBeLessThan(1e-6);
    expect(skew(found.left)).toBeLessThan(1e-9);
    expect([...found.values, ...found.right.flatMap((row) => [...row])]).not.toContain(Number.NaN);
  });

  it("are approached by sampling, the nearer the more iterations", async () => {
    const made = matrixOf(120, 90, slow);
    const exact = best(8, made, slow);
    const lost = async (iterations: number) => {
      const found = await sampledTriplets(made.weight, 8, iterations, createRandom(4));
      const product = productOf(found);
      return Math.sqrt(
        made.weight.data.reduce((sum, w, i) => sum + (w - product[i]!) ** 2, 0) /
          made.weight.data.reduce((sum, w, i) => sum + (w - exact[i]!) ** 2, 0),
      );
    };
    const losses = await Promise.all([0, 2, 16, 200].map(lost));
    expect(losses).toEqual(losses.toSorted((a, b) => b - a));
    expect(losses[0]).toBeGreaterThan(1.02);
    expect(losses[2]).toBeLessThan(1.02);
    expect(losses[3]! - 1).toBeLessThan(1e-5);
  });
});

describe("the trailing singular vectors", () => {
  const values = [9, 5, 4, 2, 1, 0.3, 0.02];

  it.each([
    [12, 7],
    [7, 12],
    [7, 7],
  ])("of a [%i, %i] weight, the smallest value's last", (rows, columns) => {
    const { weight, left, right } = matrixOf(rows, columns, values);
    for (const [side, expected] of Object.entries({ left, right })) {
      const found = trailingVectors(weight, 3, side as "left" | "right", createRandom(5));
      expect(skew(found)).toBeLessThan(1e-9);
      const overlaps = found.map((vector, i) =>
        Math.abs(vector.reduce((sum, x, k) => sum + x * expected[4 + i]![k]!, 0)),
      );
      for (const overlap of overlaps) expect(overlap).toBeCloseTo(1, 5);
    }
  });

  it("of a weight of lower rank are orthonormal all the same", () => {
    const { weight } = matrixOf(9, 6, [3, 1]);
    for (const side of ["left", "right"] as const)
      expect(skew(trailingVectors(weight, 6, side, createRandom(5)))).toBeLessThan(1e-9);
  });
});

const MODEL: ModelDescription = {
  usualTargets: { attention: ["q_proj", "v_proj"], scaledOutputs: [], scaledInputs: [] },
  modelType: "llama",
  dimensions: {
    hiddenSize: 6,
    vocabularySize: 10,
    layers: 1,
    heads: 1,
    keyValueHeads: 1,
    headSize: 6,
  } as ModelDescription["dimensions"],
  weights: [
    { name: "embed.weight", shape: [10, 6], role: "embedding" },
    { name: "layers.0.q_proj.weight", shape: [6, 6], role: "linear" },
    { name: "layers.0.v_proj.weight", shape: [4, 6], role: "linear" },
  ],
  blocks: [],
  outputPath: "lm_head",
  outputName: "embed.weight",
  source: "base",
};

const bind = (options: Omit<LoraOptions, "name">) =>
  bindMethod({ name: "lora", rank: 2, alpha: 3, ...options }, MODEL);

const configOf = (options: Omit<LoraOptions, "name">) => {
  const { saved } = bind(options);
  if (saved === "checkpoint") throw new Error("LoRA saves an adapter");
  return saved.config as LoraConfig;
};

describe("LoRA that starts as a part of its base", () => {
  const taking: LoraInit[] = ["olora", "pissa", "pissa_niter_4"];

  it.each(taking)("%s names the weights that lose it", (init) => {
    const taken = bind({ init }).takenFromBase!;
    expect([...taken.keys()]).toEqual(["layers.0.q_proj.weight", "layers.0.v_proj.weight"]);
    expect([...taken.values()].map((specs) => specs.map(({ key }) => key.slice(17)))).toEqual([
      ["layers.0.q_proj.lora_A.weight", "layers.0.q_proj.lora_B.weight"],
      ["layers.0.v_proj.lora_A.weight", "layers.0.v_proj.lora_B.weight"],
    ]);
  });

  it.each<LoraInit>([true, false, "gaussian", "orthogonal"])("%s takes nothing", (init) => {
    const { takenFromBase, saved } = bind({ init });
    expect(takenFromBase).toBeUndefined();
    expect(saved).toEqual({ config: configOf({ init }) });
    expect(configOf({ init })).toMatchObject({ r: 2, lora_alpha: 3, init_lora_weights: init });
  });

  it("computes one decomposition for both matrices, and another for another seed", async () => {
    const { parameters } = bind({ init: "pissa_niter_0", targets: ["q_proj"] });
    const data = Float32Array.from({ length: 36 }, (_, i) => Math.sin(i * i));
    let reads = 0;
    const base = async () => {
      reads++;
      return data;
    };
    const first = async (seed: number) => {
      const random = createRandom(seed);
      const values: Float32Array[] = [];
      for (const spec of parameters)
        values.push(await spec.initial(random, base, noVocabulary, base));
      return values;
    };
    const one = await first(1);
    expect(reads).toBe(1);
    expect(await first(1)).toEqual(one);
    expect(await first(2)).not.toEqual(one);
    expect(reads).toBe(3);
  });

  it("saves twice the rank at the same scaling", () => {
    const init = "pissa";
    expect(configOf({ init })).toMatchObject({ r: 4, lora_alpha: 6, init_lora_weights: true });
    expect(
      configOf({ init, rankPattern: { q_proj: 1 }, alphaPattern: { v_proj: 5 } }),
    ).toMatchObject({ rank_pattern: { q_proj: 2 }, alpha_pattern: { v_proj: 10 } });
    const { r, lora_alpha } = configOf({ init, rslora: true });
    expect([r, lora_alpha / Math.sqrt(r)]).toEqual([4, expect.closeTo(3 / Math.sqrt(2), 12)]);
  });

  it("saves A below its first values, and B beside minus its own", () => {
    const { saved, parameters } = bind({ init: "olora", targets: ["v_proj"] });
    if (saved === "checkpoint") throw new Error("LoRA saves an adapter");
    const numbered = (start: number) => (spec: ParameterSpec) =>
      Float32Array.from(
        { length: spec.shape[0]! * spec.shape[1]! },
        (_, i) => start + i + (spec.key.includes("lora_B") ? 100 : 0),
      );
    const tensors = saved.tensors!(numbered(0), numbered(50));
    const [a, b] = parameters.map(({ key }) => tensors.get(key)!);
    expect(a!.shape).toEqual([4, 6]);
    expect([...a!.data]).toEqual(
      [...Array(12).keys(), ...Array(12).keys()].map((n, i) => (i < 12 ? n : n + 50)),
    );
    expect(b!.shape).toEqual([4, 4]);
    expect([...b!.data.subarray(0, 8)]).toEqual([100, 101, -150, -151, 102, 103, -152, -153]);
  });

  it.each<[string, Omit<LoraOptions, "name">, RegExp]>([
    [
      "rslora with a rank pattern",
      { init: "olora", rslora: true, rankPattern: { q_proj: 1 } },
      /"olora" with rankPattern/,
    ],
    [
      "rslora with an alpha pattern",
      { init: "pissa", rslora: true, alphaPattern: { q_proj: 1 } },
      /"pissa" with alphaPattern/,
    ],
    ["an unknown name", { init: "pissa_niter_x" as LoraInit }, /"pissa_niter_x"/],
  ])("refuses %s", (_, options, message) => {
    expect(() => bind(options)).toThrow(message);
  });

  it("leaves ordinary LoRA its patterns with rslora", () => {
    expect(() => bind({ rank: 5, rslora: true, rankPattern: { q_proj: 1 } })).not.toThrow();
  });
});
