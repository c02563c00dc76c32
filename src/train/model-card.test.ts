import { expect, it } from "vitest";
import { parse } from "yaml";
import { type CardSubject, writeModelCard } from "./model-card.ts";
import { DEFAULT_TRAINING_SETTINGS } from "./settings.ts";

const results = { step: 40, epochs: 2, seconds: 12.3456, lossBefore: 3.25, lossAfter: 0.5 };
const subject: CardSubject = {
  baseModel: "HuggingFaceTB/SmolLM2-135M-Instruct",
  kind: "adapter",
  method: "LoRA, rank 8",
  data: { "training samples": 120 },
  versions: { tunesmith: "0.1.0" },
  license: "apache-2.0",
  tags: ["lora"],
};

it("tells what was trained on what, with what result, and how to load it", () => {
  const card = writeModelCard(subject, DEFAULT_TRAINING_SETTINGS, results);
  const front = parse(card.split("---")[1]!);
  expect(front).toEqual({
    base_model: subject.baseModel,
    library_name: "peft",
    license: "apache-2.0",
    pipeline_tag: "text-generation",
    tags: ["tunesmith", "lora"],
  });
  for (const part of [
    "| loss on held-out data | 3.25 | 0.5 |",
    "40 steps (2 epochs) in 12.35 seconds",
    "| training samples | 120 |",
    "| learningRate | 0.0002 |",
    "| tunesmith | 0.1.0 |",
    'PeftModel.from_pretrained(model, "path/to/this/folder")',
    "--model HuggingFaceTB/SmolLM2-135M-Instruct --adapter path/to/this/folder",
  ])
    expect(card).toContain(part);
});

it.each([
  ["adapterHub", "model.load_adapter("],
  ["adapterSetup", "model.load_adapter_setup("],
] as const)("names the library of %s", (kind, call) => {
  const card = writeModelCard({ ...subject, kind }, DEFAULT_TRAINING_SETTINGS, results);
  expect(parse(card.split("---")[1]!)).toHaveProperty("library_name", "adapters");
  expect(card).toContain(`${call}"path/to/this/folder", set_active=True, use_safetensors=True)`);
  expect(card).toContain("--adapter path/to/this/folder");
});

it("tells PEFT where a mixture's adapters are", () => {
  const card = writeModelCard(
    { ...subject, kind: "adapterMixture" },
    DEFAULT_TRAINING_SETTINGS,
    results,
  );
  expect(card).toMatch(
    /folder = "path\/to\/this\/folder"[\s\S]*expert-\{name\}[\s\S]*config=config/,
  );
});

it("loads a fully tuned model in the place of its base, and keeps local paths out of the hub's block", () => {
  const full: CardSubject = { baseModel: "./my model", kind: "model", method: "full fine-tuning" };
  const card = writeModelCard(full, DEFAULT_TRAINING_SETTINGS, results);
  expect(parse(card.split("---")[1]!)).not.toHaveProperty("base_model");
  expect(card).toContain('AutoModelForCausalLM.from_pretrained("path/to/this/folder")');
  expect(card).not.toContain("PeftModel");
});

it("loads a quantised base as the adapter knew it", () => {
  const quantized: CardSubject = { ...subject, quantization: "nf4" };
  expect(writeModelCard(quantized, DEFAULT_TRAINING_SETTINGS, results)).toContain(
    "--adapter path/to/this/folder --quantization nf4\n",
  );
});
