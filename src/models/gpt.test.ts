// What the configs of GPT-2, GPT-NeoX and Falcon may say, and what is refused.

import { describe, expect, it } from "vitest";
import { TunesmithError } from "../errors.ts";
import { architectureFor } from "./registry.ts";

const SIZES = { hidden_size: 32, num_hidden_layers: 1, num_attention_heads: 4, vocab_size: 50 };

const faultsOf = (config: Record<string, unknown>) => {
  try {
    architectureFor(config);
  } catch (error) {
    if (error instanceof TunesmithError) return error.faults.map(({ where }) => where);
    throw error;
  }
  return [];
};

describe("config.json", () => {
  it.each([
    ["gpt2", { add_cross_attention: true }, "add_cross_attention"],
    ["gpt2", { activation_function: "mish" }, "activation_function"],
    ["gpt2", { n_head: 5 }, "n_head"],
    ["gpt_neox", { rotary_pct: 0.4 }, "rotary_pct"],
    ["gpt_neox", { hidden_act: "glu" }, "hidden_act"],
    ["falcon", { alibi: true }, "alibi"],
    ["falcon", { new_decoder_architecture: true, parallel_attn: false }, "parallel_attn"],
    ["falcon", { num_ln_in_parallel_attn: 2 }, "num_ln_in_parallel_attn"],
    ["falcon", { multi_query: false, num_kv_heads: 2 }, "num_kv_heads"],
    [
      "falcon",
      { rope_parameters: { rope_type: "default", partial_rotary_factor: 0.5 } },
      "rope_parameters: partial_rotary_factor",
    ],
  ])("of a %s is refused where it changes the math: %j", (type, changes, key) => {
    const config = { model_type: type, ...SIZES, n_embd: 32, n_head: 4, ...changes };
    expect(faultsOf(config)).toEqual([`config.json: ${key}`]);
  });

  it("of a gpt_neox says its share of rotated elements in the old spelling and in the new", () => {
    const sizeOf = (changes: object) =>
      architectureFor({ model_type: "gpt_neox", ...SIZES, ...changes }).dimensions.rotarySize;
    expect(sizeOf({})).toBe(2);
    expect(sizeOf({ rotary_pct: 1 })).toBe(8);
    expect(sizeOf({ rope_parameters: { partial_rotary_factor: 0.5 } })).toBe(4);
  });

  it("decides whether both halves of a block read its input", () => {
    const halves = (type: string, changes: object) =>
      architectureFor({ model_type: type, ...SIZES, ...changes }).feedForward !== undefined;
    expect(halves("gpt_neox", {})).toBe(false);
    expect(halves("gpt_neox", { use_parallel_residual: false })).toBe(true);
    expect(halves("falcon", {})).toBe(false);
    expect(halves("falcon", { parallel_attn: false })).toBe(true);
    expect(halves("gpt2", { n_embd: 32, n_head: 4 })).toBe(true);
  });
});
