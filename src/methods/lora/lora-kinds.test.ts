// LoRA beside linear layers: which modules it may have, what its further options declare, and which of
// them exclude each other. What they compute is compared with PEFT in tests/parity.

import { describe, expect, it } from "vitest";
import { createRandom } from "../../runtime/random.ts";
import { arrayDifference } from "../../runtime/testing/array-difference.ts";
import type { BoundMethod, ParameterSpec } from "../method.ts";
import { bindMethod } from "../registry.ts";
import { describeModel, noVocabulary } from "../testing/description.ts";
import type { LoraOptions } from "./lora-options.ts";

const tied = describeModel();
const untied = describeModel({ tie_word_embeddings: false });
const biased = describeModel({ attention_bias: true });
const bind = (options: Omit<LoraOptions, "name">, model = tied) =>
  bindMethod({ ...options, name: "lora" }, model);

const short = (key: string) => key.replace("base_model.model.", "").replace("model.layers.", "");
const shapesOf = ({ parameters }: BoundMethod) =>
  parameters.map(({ key, shape }) => [short(key), shape]);
const specOf = ({ parameters }: BoundMethod, ending: string): ParameterSpec =>
  parameters.find(({ key }) => key.endsWith(ending))!;
const filled = async (spec: ParameterSpec, data: Float32Array) =>
  spec.initial(
    createRandom(1),
    async () => data.slice(),
    noVocabulary,
    async () => data.slice(),
  );

describe("LoRA on the embedding and on the output module", () => {
  it("has PEFT's names and shapes, and sides of its own where weights are tied", () => {
    expect(shapesOf(bind({ rank: 4, targets: ["embed_tokens", "lm_head"] }))).toEqual([
      ["lm_head.lora_A.weight", [4, 64]],
      ["lm_head.lora_B.weight", [50, 4]],
      ["model.embed_tokens.lora_embedding_A", [4, 50]],
      ["model.embed_tokens.lora_embedding_B", [64, 4]],
    ]);
  });

  it("starts from zero, in A where it is the embedding", async () => {
    const method = bind({ rank: 4, targets: ["embed_tokens"], init: "gaussian" });
    const [a, b] = await Promise.all(
      method.parameters.map((spec) => filled(spec, new Float32Array(0))),
    );
    expect(a!.every((value) => value === 0)).toBe(true);
    const deviation = Math.sqrt(b!.reduce((sum, value) => sum + value * value, 0) / b!.length);
    expect(Math.abs(deviation - 1)).toBeLessThan(0.15);
  });

  it("merges into the use that is adapted alone", () => {
    const method = bind({ rank: 2, alpha: 2, targets: ["embed_tokens"] });
    const [a] = method.parameters;
    const values = (spec: ParameterSpec) =>
      new Float32Array(spec.shape[0]! * spec.shape[1]!).fill(spec === a ? 3 : 0.5);
    const merged = (use: string) => {
      const data = new Float32Array(50 * 64);
      method.mergeInto!(use, data, values);
      return new Set(data);
    };
    expect(merged("lm_head.weight")).toEqual(new Set([0]));
    expect(merged("model.embed_tokens.weight")).toEqual(new Set([3]));
  });

  it("takes nothing out of a weight that two modules share", () => {
    expect(() => bind({ targets: ["lm_head"], init: "pissa" })).toThrow("lm_head shares");
    const { takenFromBase } = bind({ targets: ["lm_head", "embed_tokens"], init: "pissa" }, untied);
    expect([...takenFromBase!.keys()]).toEqual(["lm_head.weight"]);
  });
});

describe("DoRA", () => {
  it("starts with the lengths of the rows, of W + s B A where B is not zero", async () => {
    const weight = Float32Array.from({ length: 32 * 64 }, (_, i) => Math.sin(i));
    const lengthOf = (row: number) => Math.hypot(...weight.subarray(row * 64, (row + 1) * 64));
    const lengths = Array.from({ length: 32 }, (_, row) => lengthOf(row));
    const magnitude = async (init: boolean) => {
      const spec = specOf(bind({ dora: true, targets: ["0.self_attn.k_proj"], init }), "vector");
      expect(short(spec.key)).toBe("0.self_attn.k_proj.lora_magnitude_vector");
      return filled(spec, weight);
    };
    expect(arrayDifference(await magnitude(true), lengths)).toBeLessThan(1e-6);
    expect(arrayDifference(await magnitude(false), lengths)).toBeGreaterThan(1e-2);
  });

  it("is LoRA's option by another name", () => {
    const named = bindMethod({ name: "dora", targets: ["q_proj"] }, tied);
    expect(named.name).toBe("dora");
    expect(shapesOf(named)).toEqual(shapesOf(bind({ dora: true, targets: ["q_proj"] })));
    expect(named.saved).toMatchObject({ config: { peft_type: "LORA", use_dora: true } });
  });

  it("keeps what follows from the base out of files", () => {
    const derived = bind({ dora: true }).parameters.filter((spec) => spec.derived);
    expect(derived).toHaveLength(6);
    expect(derived.every(({ frozen }) => frozen)).toBe(true);
  });
});

describe("LoRA+", () => {
  it("has B, lengths and biases learn faster, and nothing of an embedding", () => {
    const method = bind(
      {
        learningRateRatio: 16,
        dora: true,
        bias: "all",
        targets: ["0.self_attn.q_proj", "embed_tokens"],
        modulesToSave: ["v_proj"],
      },
      biased,
    );
    const faster = method.parameters.filter(({ learningRateFactor }) => learningRateFactor === 16);
    const names = new Set(faster.map(({ key }) => key.split(".").slice(-2).join(".")));
    expect(names).toEqual(
      new Set([
        "lora_B.weight",
        "q_proj.lora_magnitude_vector",
        "base_layer.bias",
        ...["q_proj.bias", "k_proj.bias", "v_proj.bias", "o_proj.bias"],
      ]),
    );
    expect(method.parameters.some(({ key }) => key.endsWith("v_proj.weight"))).toBe(true);
  });

  it("changes no rate by default", () => {
    expect(bind({}).parameters.some(({ learningRateFactor }) => learningRateFactor)).toBe(false);
  });
});

describe("MiCA", () => {
  it("freezes B, whose columns are orthonormal", async () => {
    const spec = specOf(bind({ rank: 3, init: "mica", targets: ["up_proj"] }), "lora_B.weight");
    expect(spec.frozen).toBe(true);
    const weight = Float32Array.from({ length: 96 * 64 }, (_, i) => Math.sin(i * i));
    const b = await filled(spec, weight);
    const overlap = (i: number, j: number) =>
      Array.from({ length: 96 }, (_, row) => b[row * 3 + i]! * b[row * 3 + j]!).reduce(
        (sum, value) => sum + value,
      );
    for (const i of [0, 1, 2])
      for (const j of [0, 1, 2]) expect(overlap(i, j)).toBeCloseTo(i === j ? 1 : 0, 6);
  });
});

describe("trained tokens", () => {
  it("are rows of the embedding, which a tied output module shares", () => {
    const method = bind({ targets: ["q_proj"], trainableTokens: [7, 3] });
    const key = "model.embed_tokens.token_adapter.trainable_tokens_delta";
    expect(shapesOf(method).at(-1)).toEqual([key, [2, 64]]);
    expect(method.adapted).toContain("lm_head");
    expect(bind({ trainableTokens: [7, 3] }, untied).adapted).not.toContain("lm_head");
    const both = bind({ trainableTokens: { embed_tokens: [7, 3], lm_head: [7, 3] } });
    expect(shapesOf(both)).toEqual(shapesOf(bind({ trainableTokens: [7, 3] })));
  });

  it("start as they are, and replace rows in a merge", async () => {
    const method = bind({ trainableTokens: { lm_head: [49, 2] } });
    const spec = specOf(method, "tokens_delta");
    const table = Float32Array.from({ length: 50 * 64 }, (_, i) => i);
    const rows = await filled(spec, table);
    expect([rows[0], rows[63], rows[64]]).toEqual([49 * 64, 50 * 64 - 1, 2 * 64]);
    const merged = table.slice();
    method.mergeInto!("lm_head.weight", merged, () => rows.map((value) => -value));
    expect([merged[49 * 64], merged[3 * 64], merged[2 * 64 + 1]]).toEqual([
      -49 * 64,
      3 * 64,
      -2 * 64 - 1,
    ]);
    const other = table.slice();
    method.mergeInto!("model.embed_tokens.weight", other, () => rows.map((value) => -value));
    expect(other).toEqual(table);
  });

  it.each([
    [[50], "token ids from 0 to 49"],
    [[1, 1], "each once"],
    [{ embed_tokens: [] }, "each once"],
    [{ lm_haed: [1] }, 'nearest is "lm_head"'],
  ])("%j is refused", (trainableTokens, message) => {
    expect(() => bind({ trainableTokens })).toThrow(message);
  });
});

it.each<[string, Omit<LoraOptions, "name">, RegExp]>([
  ["biases of B with DoRA", { loraBias: true, dora: true }, /without DoRA/],
  ["biases of B with another start", { loraBias: true, init: "olora" }, /init: olora/],
  [
    "biases of B and trained rows of an adapted embedding",
    { loraBias: true, targets: ["embed_tokens"], trainableTokens: [1] },
    /embed_tokens among the targets[\s\S]*embed_tokens is in targets as well/,
  ],
  [
    "trained rows of a module that is trained as a whole",
    { modulesToSave: ["lm_head"], trainableTokens: [1] },
    /lm_head is in modulesToSave as well/,
  ],
  [
    "rows of an adapted head of its own",
    { targets: ["lm_head"], trainableTokens: { lm_head: [1] } },
    /lm_head is in targets as well/,
  ],
  [
    "DoRA of a head and rows of the embedding that it is tied to",
    { dora: true, targets: ["lm_head"], trainableTokens: [1] },
    /lm_head is in targets as well/,
  ],
])("%s exclude each other", (_, options, message) => {
  expect(() => bind(options)).toThrow(message);
});

it("biases of B cannot be merged into modules that have none", () => {
  expect(bind({ loraBias: true }).unmergeable).toContain("q_proj");
  expect(bind({ loraBias: true }, biased).unmergeable).toBeUndefined();
});
