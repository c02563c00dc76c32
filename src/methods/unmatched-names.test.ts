import { describe, expect, it } from "vitest";
import { describeModel } from "./testing/description.ts";
import { unmatchedNames } from "./unmatched-names.ts";

const model = describeModel();

describe("names that the model has not", () => {
  it.each([
    ["exclude", { exclude: ["q_proj", "q_prj"] }, '"q_prj"', 'nearest is "q_proj"'],
    ["exclude", { exclude: ["mlp"] }, '"mlp"', "correct it, or leave it out"],
    ["rankPattern", { rankPattern: { q_prj: 4, "v_.*": 2 } }, '"q_prj"', 'nearest is "q_proj"'],
    ["alphaPattern", { alphaPattern: { up: 4 } }, '"up"', "correct it, or leave it out"],
    [
      "frequencyPattern",
      { frequencyPattern: { ".*9.*": 4 } },
      '".*9.*"',
      "correct it, or leave it out",
    ],
    [
      "layersToTransform",
      { layersToTransform: [0, 3, 7] },
      "3, 7",
      "name layers that the model has",
    ],
  ])("are told of %s", (option, options, seen, fix) => {
    expect(unmatchedNames(options, model)).toMatchObject([{ option, seen, fix }]);
  });

  it("are none where every name fits, whether it is adapted or not", () => {
    const options = {
      exclude: ["0.self_attn.q_proj", "lm_head", "input_layernorm"],
      rankPattern: { "layers.[01].*q_proj": 2, embed_tokens: 3 },
      layersToTransform: [0, 2],
    };
    expect(unmatchedNames(options, model)).toEqual([]);
    expect(unmatchedNames({ exclude: "nothing.*" }, model)).toEqual([]);
    const kept = { "model.layers.0.self_attn.q_proj.lora_E": [true, false] };
    expect(unmatchedNames({ rankPattern: kept }, model)).toEqual([]);
  });
});
