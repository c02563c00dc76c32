import { describe, expect, it } from "vitest";
import { unfittingRanks } from "./fitting-ranks.ts";
import type { LoraInit } from "./lora/lora-init.ts";
import { bindMethod, type MethodOptions } from "./registry.ts";
import { describeModel } from "./testing/description.ts";

// Queries are [64, 64], keys and values [32, 64], the feed-forward [96, 64] and [64, 96], in 3 layers.
const model = describeModel();
const faultsOf = (options: MethodOptions) =>
  unfittingRanks(bindMethod(options, model).ranks ?? []).map(
    ({ option, seen, fix }) => `${option}: ${seen} (${fix})`,
  );

const q = "model.layers.0.self_attn.q_proj";
const k = "model.layers.0.self_attn.k_proj";
const two = ["q_proj", "k_proj"];
const halves = { ofKeys: `${k}, of shape [32, 64], and at 2 more of that shape` };

describe("ranks that a matrix has no room for", () => {
  it.each<[string, MethodOptions, string[]]>([
    [
      "LoRA",
      { name: "lora", rank: 33, targets: two },
      [`rank: 33 at ${halves.ofKeys} (use 32 or less, or rankPattern: { k_proj: 32 })`],
    ],
    [
      "LoRA, two shapes",
      { name: "lora", rank: 65, targets: [...two, "v_proj"] },
      [
        `rank: 65 at ${q}, of shape [64, 64], and at 2 more of that shape (use 32 or less, or rankPattern: { q_proj: 64 })`,
        `rank: 65 at ${k}, of shape [32, 64], and at 5 more of that shape (use 32 or less, or rankPattern: { k_proj: 32, v_proj: 32 })`,
      ],
    ],
    [
      "a pattern of LoRA's",
      { name: "lora", targets: two, rankPattern: { "0.self_attn.k_proj": 40 } },
      [
        `rankPattern: 40 at ${k}, of shape [32, 64] (use 32 or less there, such as rankPattern: { k_proj: 32 })`,
      ],
    ],
    [
      "an embedding",
      { name: "lora", rank: 51, targets: ["embed_tokens"] },
      [
        "rank: 51 at model.embed_tokens, of shape [64, 50] (use 50 or less, or rankPattern: { embed_tokens: 50 })",
      ],
    ],
    [
      "DoRA",
      { name: "dora", rank: 33, targets: ["k_proj"] },
      [`rank: 33 at ${halves.ofKeys} (use 32 or less, or rankPattern: { k_proj: 32 })`],
    ],
    [
      "QLoRA",
      { name: "qlora", rank: 33, targets: ["k_proj"] },
      [`rank: 33 at ${halves.ofKeys} (use 32 or less, or rankPattern: { k_proj: 32 })`],
    ],
    [
      "AdaLoRA",
      { name: "adalora", initialRank: 33, targetRank: 20, targets: two },
      [`initialRank: 33 at ${halves.ofKeys} (use 32 or less)`],
    ],
    [
      "LoHa",
      { name: "loha", rank: 33, targets: ["k_proj"] },
      [`rank: 33 at ${halves.ofKeys} (use 32 or less, or rankPattern: { k_proj: 32 })`],
    ],
    [
      "MiSS",
      { name: "miss", rank: 65, targets: ["k_proj"] },
      [`rank: 65 at ${halves.ofKeys} (use 64 or less)`],
    ],
    [
      "HRA",
      { name: "hra", rank: 34, targets: ["k_proj"] },
      [`rank: 34 at ${halves.ofKeys} (use 32 or less)`],
    ],
    [
      "experts, sparse",
      { name: "moe-lora", rank: 33, targets: ["k_proj", "up_proj"] },
      [`rank: 33 at ${halves.ofKeys} (use 32 or less)`],
    ],
    [
      "experts, dense",
      { name: "moe-lora", routing: "dense", rank: 33, targets: ["k_proj"] },
      [`rank: 33 at ${halves.ofKeys} (use 32 or less)`],
    ],
    [
      "a LoRA in a union",
      {
        name: "unipelt",
        union: [
          { kind: "prefix", length: 2 },
          { kind: "lora", rank: 33, targets: ["k_proj"] },
        ],
      },
      [`union.1.rank: 33 at ${halves.ofKeys} (use 32 or less)`],
    ],
    [
      "bottlenecks",
      { name: "adapter", reductionFactor: { 1: 65, default: 64 }, leaveOut: [0] },
      ["reductionFactor: 65 at model.layers.1.mlp, of shape [64] (use 64 or less)"],
    ],
    [
      "a coupling block",
      { name: "adapter", preset: "seq_bn_inv", invertibleReductionFactor: 33 },
      ["invertibleReductionFactor: 33 at the embedding, of shape [32] (use 32 or less)"],
    ],
    [
      "Compacter's weights",
      { name: "adapter", preset: "compacter++", reductionFactor: 8, phmRank: 3 },
      [
        "phmRank: 3 at model.layers.0.mlp, of shape [16, 2], and at 2 more of that shape (use 2 or less)",
      ],
    ],
  ])("are told of %s", (_, options, told) => {
    expect(faultsOf(options)).toEqual(told);
  });

  it.each<[string, MethodOptions]>([
    ["the largest of LoRA", { name: "lora", rank: 32, targets: two }],
    [
      "a pattern that says so",
      { name: "lora", rank: 64, targets: two, rankPattern: { k_proj: 32 } },
    ],
    // Vectors between random matrices: each rank is one more direction of the weight's, up to in × out.
    ["VeRA, whose matrices are random", { name: "vera", rank: 256 }],
    ["LoKr whose factors are whole", { name: "lokr", rank: 10_000 }],
    ["the widest group of MiSS", { name: "miss", rank: 64, targets: ["k_proj"] }],
    ["prefixes", { name: "prefix", virtualTokens: 200 }],
    [
      "what AdaLoRA kept",
      {
        name: "adalora",
        initialRank: 40,
        targetRank: 8,
        targets: ["k_proj"],
        rankPattern: Object.fromEntries(
          [0, 1, 2].map((i) => [
            `model.layers.${i}.self_attn.k_proj.lora_E`,
            Array.from({ length: 40 }, (_, r) => r < 8),
          ]),
        ),
      },
    ],
  ])("are none of %s", (_, options) => {
    expect(faultsOf(options)).toEqual([]);
  });

  it("are told of a factor of LoKr's that is a product with more rank than it has", () => {
    // At a factor of 2, [8, 64] is [2, 2] ⊗ [4, 32], and rank 16 is that of a whole [4, 32].
    const narrow = describeModel({ intermediate_size: 8, num_key_value_heads: 4 });
    const seenAt = (rank: number) => {
      const options: MethodOptions = {
        name: "lokr",
        rank,
        targets: ["up_proj"],
        decomposeFactor: 2,
      };
      return unfittingRanks(bindMethod(options, narrow).ranks!).map(({ seen }) => seen);
    };
    expect(seenAt(4)).toEqual([]);
    expect(seenAt(5)).toEqual([
      "5 at model.layers.0.mlp.up_proj, of shape [4, 32], and at 2 more of that shape",
    ]);
    expect(seenAt(16)).toEqual([]);
  });

  it("leave a gate of a shared expert alone, but not where its adapter is a part of it", () => {
    const gated = describeModel({
      model_type: "qwen2_moe",
      max_position_embeddings: 64,
      num_experts: 4,
      num_experts_per_tok: 2,
      moe_intermediate_size: 32,
      shared_expert_intermediate_size: 32,
    });
    const seen = (init: LoraInit) =>
      unfittingRanks(
        bindMethod({ name: "lora", rank: 2, targets: "all-linear", init }, gated).ranks!,
      ).map((fault) => fault.seen);
    expect(seen(true)).toEqual([]);
    expect(seen("gaussian")).toEqual([]);
    for (const init of ["pissa", "olora", "mica", "loftq"] as const)
      expect(seen(init)).toEqual([
        "2 at model.layers.0.mlp.shared_expert_gate, of shape [1, 64], and at 2 more of that shape",
      ]);
  });
});
