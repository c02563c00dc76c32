import { describe, expect, it } from "vitest";
import { bindMethod } from "./registry.ts";
import { patternValue, selectTargets, type TargetOptions } from "./targets.ts";
import { describeModel } from "./testing/description.ts";

const model = describeModel();
const LINEARS = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"];

/** What is selected, as layer and last name. */
const select = (options: TargetOptions): string[] =>
  selectTargets(model, options).map(({ path }) =>
    path.replace(/^model\.layers\.(\d+)\..*\.(\w+)$/, "$1 $2"),
  );

describe("selectTargets", () => {
  it.each<[string, TargetOptions, string[]]>([
    ["a last name", { targets: ["q_proj"] }, ["0 q_proj", "1 q_proj", "2 q_proj"]],
    ["a longer end of the path", { targets: ["1.mlp.up_proj"] }, ["1 up_proj"]],
    ["a whole path", { targets: ["model.layers.2.self_attn.v_proj"] }, ["2 v_proj"]],
    [
      "a regular expression for whole paths",
      { targets: ".*\\.[02]\\.self_attn\\.(q|k)_proj" },
      ["0 q_proj", "0 k_proj", "2 q_proj", "2 k_proj"],
    ],
    [
      "names without some of them",
      { targets: ["q_proj", "k_proj"], exclude: ["0.self_attn.q_proj", "k_proj"] },
      ["1 q_proj", "2 q_proj"],
    ],
    [
      "names without what an expression matches",
      { targets: ["q_proj"], exclude: ".*layers\\.[01]\\..*" },
      ["2 q_proj"],
    ],
    ["some layers", { targets: ["v_proj"], layers: [0, 2] }, ["0 v_proj", "2 v_proj"]],
    [
      "some layers, and what is named by its whole path",
      { targets: ["v_proj", "lm_head", "model.layers.2.mlp.up_proj"], layers: [0] },
      ["0 v_proj", "2 up_proj", "lm_head"],
    ],
  ])("%s", (_name, options, expected) => {
    expect(select(options)).toEqual(expected);
  });

  it("all-linear is every linear module, the output matrix left out", () => {
    const untied = describeModel({ tie_word_embeddings: false });
    const paths = selectTargets(untied, { targets: "all-linear" }).map(({ path }) => path);
    expect(paths).toHaveLength(3 * LINEARS.length);
    expect(new Set(paths.map((path) => path.split(".").at(-1)))).toEqual(new Set(LINEARS));
  });

  it("an expression must match the whole path, as in PEFT", () => {
    expect(() => select({ targets: "q_proj" })).toThrow("leaves none of");
  });

  it("tells the sizes of a module", () => {
    const biased = describeModel({ attention_bias: true });
    expect(selectTargets(biased, { targets: ["0.self_attn.k_proj"] })).toEqual([
      {
        path: "model.layers.0.self_attn.k_proj",
        kind: "linear",
        weight: "model.layers.0.self_attn.k_proj.weight",
        outputSize: 32,
        inputSize: 64,
        hasBias: true,
      },
    ]);
  });

  it("names every target that matches nothing, with the nearest", () => {
    expect(() => select({ targets: ["q_prj", "v_proj", "dense"] })).toThrowError(
      /"q_prj" matches no module[\s\S]*nearest is "q_proj"[\s\S]*"dense" matches no module[\s\S]*all-linear/,
    );
  });

  it("finds the output module where it is meant, and the weight that it shares", () => {
    const head = { path: "lm_head", kind: "output", outputSize: 50, inputSize: 64, hasBias: false };
    const weight = "model.embed_tokens.weight";
    expect(selectTargets(model, { targets: ["lm_head"] })).toEqual([{ ...head, weight }]);
    expect(select({ targets: "lm_head|.*0.mlp.up_proj" })).toHaveLength(2);
  });

  it("finds the embedding where a method can adapt it, and says what to do where not", () => {
    expect(
      selectTargets(model, { targets: ["embed_tokens"], embeddings: true }).map(
        ({ kind, outputSize, inputSize }) => [kind, outputSize, inputSize],
      ),
    ).toEqual([["embedding", 64, 50]]);
    expect(() => select({ targets: ["embed_tokens"] })).toThrow('modulesToSave: ["embed_tokens"]');
  });

  it("refuses a selection that leaves nothing", () => {
    expect(() => select({ targets: ["q_proj"], exclude: ["q_proj"] })).toThrow("leaves none");
    expect(() => select({ targets: ["q_proj"], layers: [7] })).toThrow("leaves none");
  });

  it("refuses layers beside an expression, as PEFT does", () => {
    expect(() => select({ targets: ".*q_proj", layers: [0] })).toThrow(
      /layersToTransform[\s\S]*\[0\] with the regular expression/,
    );
  });

  it("refuses text that is no regular expression", () => {
    expect(() => select({ targets: "q_proj(" })).toThrow("must be a regular expression");
  });
});

describe("patternValue", () => {
  const value = (patterns: Record<string, number>) =>
    patternValue(patterns, "model.layers.1.self_attn.q_proj", "method.rankPattern");

  it.each([
    [{ q_proj: 4 }, 4],
    [{ "1.self_attn.q_proj": 4 }, 4],
    [{ "layers.[01].self_attn.(q|k)_proj": 4 }, 4],
    [{ proj: 4 }, undefined],
    [{ q_pro: 4 }, undefined],
    [{ v_proj: 2, q_proj: 3, "self_attn.q_proj": 4 }, 3],
  ])("%j", (patterns, expected) => {
    expect(value(patterns)).toBe(expected);
  });
});

describe("the output matrix", () => {
  it.each([
    ["LoRAMoE", { name: "moe-lora", routing: "dense" }],
    ["MixLoRA", { name: "moe-lora", routing: "top-k" }],
  ] as const)("is refused by %s, which reports to a loss of its own", (label, options) => {
    const targets = ["q_proj", "up_proj", "lm_head"];
    expect(() => bindMethod({ ...options, targets }, describeModel())).toThrow(
      new RegExp(`${label}[\\s\\S]*"lm_head"[\\s\\S]*out of the targets`),
    );
  });

  it("is adapted by AdaLoRA, whose loss is of its factors alone", () => {
    const targets = ["lm_head"];
    const method = bindMethod({ name: "adalora", targets }, describeModel());
    expect(method.adapted).toEqual(["lm_head"]);
  });
});
