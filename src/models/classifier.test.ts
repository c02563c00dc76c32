// Classifiers in config.json: which files are of one, what it says, and what its architecture is.

import { expect, it } from "vitest";
import { classifierConfig, classifierOf, readClassifier, usualProblem } from "./classifier.ts";
import { architectureFor } from "./registry.ts";

const CONFIG = {
  architectures: ["LlamaForCausalLM"],
  model_type: "llama",
  vocab_size: 11,
  hidden_size: 8,
  intermediate_size: 12,
  num_hidden_layers: 1,
  num_attention_heads: 2,
  num_key_value_heads: 2,
  max_position_embeddings: 16,
  rms_norm_eps: 1e-5,
  rope_theta: 10000,
  pad_token_id: 4,
};
const JUDGING = { ...CONFIG, architectures: ["LlamaForSequenceClassification"] };

it("is told by the class that config.json names", () => {
  expect(readClassifier(CONFIG, "config.json")).toBeUndefined();
  expect(readClassifier({ ...CONFIG, architectures: null }, "config.json")).toBeUndefined();
  expect(readClassifier(JUDGING, "config.json")?.labels).toEqual(["LABEL_0", "LABEL_1"]);
});

it.each([
  [{ id2label: { 0: "a", 1: "b", 2: "c" } }, ["a", "b", "c"], "single_label_classification"],
  [
    { id2label: { 10: "k", ...Object.fromEntries([..."abcdefghij"].map((x, i) => [i, x])) } },
    [..."abcdefghijk"],
    "single_label_classification",
  ],
  [{ num_labels: 1 }, ["LABEL_0"], "regression"],
  [
    { num_labels: 2, problem_type: "multi_label_classification" },
    ["LABEL_0", "LABEL_1"],
    "multi_label_classification",
  ],
])("%j names %j", (keys, labels, problem) => {
  expect(classifierOf(keys, "config.json")).toEqual({ labels, problem });
});

it.each([
  [{ id2label: {} }, "id2label"],
  [{ id2label: { 1: "a", 2: "b" } }, "id2label"],
  [{ problem_type: "ranking" }, "problem_type"],
])("%j is refused", (keys, where) => {
  expect(() => classifierOf(keys, "config.json")).toThrow(`config.json: ${where}`);
});

it.each([
  ["LlamaForCausalLM", "LlamaForSequenceClassification"],
  ["GPT2LMHeadModel", "GPT2ForSequenceClassification"],
  ["Qwen2Model", "Qwen2ForSequenceClassification"],
])("a %s becomes a %s", (from, to) => {
  const labels = ["yes", "no"];
  const made = classifierConfig(
    { ...CONFIG, architectures: [from] },
    { labels, problem: usualProblem(labels) },
  );
  expect(made.architectures).toEqual([to]);
  expect(readClassifier(made, "config.json")).toEqual({
    labels,
    problem: "single_label_classification",
  });
});

it.each([true, false])("has the head in place of the output matrix (tied: %s)", (tied) => {
  const json = { ...JUDGING, tie_word_embeddings: tied, num_labels: 3 };
  const architecture = architectureFor(json);
  const names = architecture.weights.map(({ name }) => name);
  expect(names).toContain("model.embed_tokens.weight");
  expect(names).not.toContain("lm_head.weight");
  expect(architecture).toMatchObject({
    outputName: "score.weight",
    logitCount: 3,
    classifier: { padToken: 4 },
  });
  expect(architecture.weights.at(-1)).toEqual({
    name: "score.weight",
    shape: [3, 8],
    role: "output",
  });
});
