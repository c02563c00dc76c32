// What the methods beside LoRA say about options that do not fit, and what they write for PEFT.

import { describe, expect, it } from "vitest";
import type { JsonObject } from "../../hub/index.ts";
import { bindMethod, type MethodOptions, methodOfAdapter } from "../registry.ts";
import { describeModel } from "../testing/description.ts";

const bind = (options: MethodOptions) => bindMethod(options, describeModel());
const configOf = (options: MethodOptions): JsonObject => {
  const { saved } = bind(options);
  if (saved === "checkpoint" || typeof saved.config === "function") throw new Error("no file");
  return saved.config;
};

describe("refused, with what would do", () => {
  it.each<[string, MethodOptions, RegExp]>([
    ["a target", { name: "loha", targets: ["q_prj"] }, /"q_prj" matches no module.*"q_proj"/s],
    ["a rank", { name: "vera", rank: 0 }, /method\.rank/],
    [
      "a feed-forward layer that is no target",
      { name: "ia3", feedforward: ["up_proj"] },
      /method\.feedforward.*the targets are k_proj, v_proj, down_proj/s,
    ],
    ["a norm", { name: "ln-tuning", targets: ["input_norm"] }, /nearest is "input_layernorm"/],
    ["all norms left out", { name: "ln-tuning", exclude: ".*" }, /leave at least one norm/],
    ["more blocks than there are", { name: "freeze", blocks: 4 }, /saw: 4 of 3/],
    ["weights by no name", { name: "freeze", weights: ["mpl"] }, /nearest is "mlp"/],
    ["a tied head", { name: "freeze", weights: ["lm_head"] }, /name "embed_tokens"/],
    ["weights by no pattern", { name: "freeze", weights: "(" }, /regular expression/],
    ["blocks given twice", { name: "oft", blocks: 4, blockSize: 8 }, /leave one of them out/],
    ["blocks of one input", { name: "oft", blockSize: 1 }, /at least two inputs/],
    ["blocks that do not divide", { name: "boft", blockSize: 5 }, /64 inputs.*96 inputs/s],
    ["blocks that butterflies do not fit", { name: "boft", factors: 6 }, /2\^\(factors - 1\)/],
  ])("%s", (_, options, message) => {
    expect(() => bind(options)).toThrow(message);
  });

  it.each<[string, JsonObject, RegExp]>([
    [
      "COFT",
      { peft_type: "OFT", oft_block_size: 4, r: 0, peft_version: "0.18.1", coft: true },
      /coft/,
    ],
    ["OFT of old", { peft_type: "OFT", r: 8 }, /before 0\.14/],
    ["another series", { peft_type: "OFT", oft_block_size: 4, peft_version: "0.17.0" }, /0\.18/],
    ["a wrong type", { peft_type: "LOHA", r: "many" }, /adapter_config\.json: r/],
  ])("an adapter with %s", (_, config, message) => {
    expect(() => methodOfAdapter({ config }, "folder")).toThrow(message);
  });
});

describe("what PEFT reads", () => {
  it("are paths where its configuration has no key for the choice", () => {
    const { target_modules } = configOf({
      name: "vera",
      targets: ["q_proj"],
      exclude: ["0.self_attn.q_proj"],
    });
    expect(target_modules).toEqual([
      "model.layers.1.self_attn.q_proj",
      "model.layers.2.self_attn.q_proj",
    ]);
  });

  it("are names for all-linear", () => {
    expect(configOf({ name: "lokr" }).target_modules).toHaveLength(7);
  });

  it("are feed-forward layers among the targets", () => {
    const config = configOf({ name: "ia3", targets: ["mlp.down_proj", "k_proj"] });
    expect(config.feedforward_modules).toEqual(
      [0, 1, 2].map((layer) => `model.layers.${layer}.mlp.down_proj`),
    );
    expect(config.target_modules).toEqual(
      expect.arrayContaining(config.feedforward_modules as string[]),
    );
  });

  it("are a size or a number of blocks, the other one 0", () => {
    expect(configOf({ name: "oft" })).toMatchObject({ oft_block_size: 32, r: 0 });
    expect(configOf({ name: "boft", blocks: 4 })).toMatchObject({
      boft_block_size: 0,
      boft_block_num: 4,
    });
  });

  it.each<MethodOptions>([
    { name: "ia3", targets: "all-linear", feedforward: ["up_proj"] },
    { name: "vera", rank: 3, dropout: 0.5, layersToTransform: [1], bias: "vera_only" },
    { name: "loha", rank: 3, rankPattern: { q_proj: 2 }, modulesToSave: ["lm_head"] },
    { name: "oft", blocks: 2, cayleyNeumann: false },
    { name: "boft", blockSize: 2, factors: 2 },
  ])("$name: options come back as they were", (options) => {
    const config = configOf(options);
    const read = methodOfAdapter({ config }, "folder");
    expect(bind(read).parameters.map(({ key, shape }) => [key, shape])).toEqual(
      bind(options).parameters.map(({ key, shape }) => [key, shape]),
    );
    expect(configOf(read)).toEqual(config);
  });
});
