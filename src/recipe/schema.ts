// The recipe: which model, which data, which method, which objective, how to train, where. This one
// schema is the source of the types, the defaults, the command line's override flags, the comments
// of `tunesmith init`, the JSON Schema for editors and the documentation. Every key says here what
// it means; a key without a default says how it is derived (see derive.ts).

import { z } from "zod";
import type { FormatName, LossMode, TruncationRule } from "../data/index.ts";
import { ARITHMETICS } from "../engine/weights/integer-operands.ts";
import { MODEL_DTYPES } from "../engine/weights/model-dtype.ts";
import { BLOCK_SIZES, KEPT_TYPES } from "../hub/index.ts";
import { count, derived, methodSchemas } from "../methods/index.ts";
import type { OptimizerName } from "../runtime/optimizer.ts";
import type { ScheduleName } from "../runtime/schedule.ts";

// Lists whose owner is a lower layer; the compiler compares the two.
const FORMAT_NAMES = [
  "messages",
  "completion",
  "alpaca",
  "sharegpt",
  "text",
] as const satisfies readonly FormatName[];
const LOSSES = ["completion", "assistant", "all"] as const satisfies readonly LossMode[];
const TRUNCATIONS = [
  "auto",
  "error",
  "keep_start",
  "keep_end",
  "split",
  "drop",
] as const satisfies readonly TruncationRule[];
const OBJECTIVES = ["sft", "classification", "regression"] as const;
const SCHEDULES = ["constant", "linear", "cosine"] as const satisfies readonly ScheduleName[];
const OPTIMIZERS = ["adamw", "sgd"] as const satisfies readonly OptimizerName[];

const modelSchema = z.strictObject({
  path: z.string().optional().describe("A folder in the Hugging Face layout, or a GGUF file."),
  id: z.string().optional().describe("A model of the hub, such as HuggingFaceTB/SmolLM2-135M."),
  revision: z.string().optional().describe("Branch, tag or commit of a hub model."),
  dtype: z
    .enum(MODEL_DTYPES)
    .default("auto")
    .describe(
      "Frozen weights in memory: as the file has them, or widened to 32 bits; q4 and q8 for eval alone.",
    ),
  quantization: z
    .enum(["none", ...KEPT_TYPES])
    .optional()
    .describe(
      "Linear weights in memory in 4 bits (nf4, fp4) or 8 (int8), whatever the file has; int4 is what GPTQ and AWQ made, as it is.",
    )
    .meta(
      derived(
        "nf4 for method qlora, int8 for arithmetic in int8, that of a quantised checkpoint, otherwise none",
      ),
    ),
  doubleQuantization: z
    .boolean()
    .optional()
    .describe("Keep the scales of 4-bit blocks in 8 bits: 0.52 bytes a weight instead of 0.56.")
    .meta(derived("true for nf4 and fp4")),
  quantizationBlockSize: z
    .literal(BLOCK_SIZES)
    .optional()
    .describe("Weights of a 4-bit block; they share a scale.")
    .meta(derived("64 for nf4 and fp4")),
  arithmetic: z
    .enum(ARITHMETICS)
    .default("float32")
    .describe(
      "Products with frozen linear weights: exact, or in 8-bit integers: faster, rounded, weights kept as int8.",
    ),
});

const dataSchema = z.strictObject({
  train: z
    .union([z.string(), z.array(z.string()).min(1)])
    .describe("Training data: JSONL, JSON, CSV, Parquet or text files, or a hub dataset."),
  eval: z
    .union([z.string(), z.number().min(0), z.array(z.string()).min(1)])
    .default(0)
    .describe(
      "Held-out data: a file, or how much of the training data to hold out: a share (0.1), a number; 0: none.",
    ),
  format: z
    .enum(["auto", ...FORMAT_NAMES])
    .default("auto")
    .describe("How a sample is laid out; auto looks at its columns."),
  columns: z
    .record(z.string(), z.string())
    .default({})
    .describe("Other names of columns, as { prompt: question, completion: answer }."),
  loss: z
    .enum(["auto", ...LOSSES])
    .default("auto")
    .describe(
      "What is trained on: the last answer, every assistant turn, all tokens; auto: answers where there are any.",
    ),
  maxLength: count
    .optional()
    .describe("Tokens of a sample; longer ones are handled by `truncation`.")
    .meta(derived("the model's context, at most 1024; 2048 where it looks at images")),
  truncation: z
    .enum(TRUNCATIONS)
    .default("auto")
    .describe(
      "For samples longer than maxLength: refuse, cut, split or drop; auto: split texts, refuse others.",
    ),
  packing: z
    .boolean()
    .default(false)
    .describe("Put several short samples into one row; they do not see each other."),
  streaming: z
    .union([z.boolean(), z.literal("auto")])
    .default("auto")
    .describe("Read files while training instead of before; auto: those of more than 256 MiB."),
  shuffle: z.boolean().default(true).describe("A new order for every epoch, fixed by the seed."),
});

const tokensSchema = z.strictObject({
  add: z
    .array(z.string().min(1))
    .default([])
    .describe("Texts that become one token each, wherever they stand (Axolotl's `tokens`)."),
  special: z
    .array(z.string().min(1))
    .default([])
    .describe("The same for what a chat template writes: never made by the text of a message."),
  padToken: z
    .string()
    .min(1)
    .optional()
    .describe("The token of no text.")
    .meta(derived("the model's")),
  eosToken: z
    .string()
    .min(1)
    .optional()
    .describe("The token that ends a text.")
    .meta(derived("the model's")),
  bosToken: z
    .string()
    .min(1)
    .optional()
    .describe("The token that begins a text.")
    .meta(derived("the model's")),
  padToMultipleOf: count
    .default(1)
    .describe("Rows of the embedding are rounded up to a multiple of it; 64 is usual."),
});

const objectiveSchema = z.strictObject({
  name: z
    .enum(OBJECTIVES)
    .default("sft")
    .describe(
      "What is learned: to continue texts (sft), a text's label (classification), a value of it (regression).",
    ),
  labels: z
    .array(z.union([z.string(), z.number()]))
    .min(1)
    .optional()
    .describe("Names of the labels, or of the values, in the order of the head's rows.")
    .meta(
      derived(
        "the checkpoint's own, otherwise those of the training data; of regression one, `score`",
      ),
    ),
  multiple: z
    .boolean()
    .default(false)
    .describe("Classification: whether a text may have several labels, or none."),
});

const trainSchema = z.strictObject({
  epochs: z.number().positive().default(3).describe("How often the training data is gone through."),
  maxSteps: count
    .optional()
    .describe("Stop after this many optimizer steps.")
    .meta(derived("none")),
  batchSize: count.default(8).describe("Samples in a micro-batch: what memory is needed for."),
  gradientAccumulation: count.default(1).describe("Micro-batches summed into one optimizer step."),
  learningRate: z
    .number()
    .positive()
    .optional()
    .describe("Peak learning rate.")
    .meta(derived("by method: 2e-4 for lora, 2e-5 for full")),
  schedule: z
    .enum(SCHEDULES)
    .default("cosine")
    .describe("How the learning rate goes from its peak to the end."),
  warmup: z
    .number()
    .min(0)
    .default(0.03)
    .describe("Steps of rising learning rate; below 1 a share of all steps."),
  weightDecay: z.number().min(0).default(0).describe("Decoupled weight decay."),
  betas: z
    .tuple([z.number().min(0).lt(1), z.number().min(0).lt(1)])
    .default([0.9, 0.999])
    .describe("Adam's decay rates of the two moments."),
  eps: z.number().positive().default(1e-8).describe("Adam's guard against division by zero."),
  optimizer: z.enum(OPTIMIZERS).default("adamw").describe("The rule that moves weights."),
  maxGradientNorm: z.number().min(0).default(1).describe("Gradients are clipped to it; 0: never."),
  evaluateEvery: z
    .union([z.enum(["epoch", "never"]), count])
    .default("epoch")
    .describe("Measure the held-out loss after each epoch, every so many steps, or never."),
  saveEvery: z
    .union([z.enum(["epoch", "never"]), count])
    .default("epoch")
    .describe(
      "Write a checkpoint after each epoch, every so many steps, or only at the end (never).",
    ),
  keepLast: count.default(2).describe("Checkpoints kept, newest first."),
  keepBest: z
    .boolean()
    .optional()
    .describe("Also keep the one with the lowest held-out loss, and end with it.")
    .meta(derived("true where there is held-out data")),
  earlyStopping: count
    .optional()
    .describe("Stop after this many evaluations without a lower held-out loss.")
    .meta(derived("never")),
  seed: z.int().min(0).default(0).describe("Fixes data order, initial adapters and dropout."),
  memory: z
    .enum(["fast", "lean"])
    .default("fast")
    .describe("Keep what the backward pass reads (fast), or compute it again (lean)."),
});

const computeSchema = z.strictObject({
  where: z.enum(["here"]).default("here").describe("Where training runs: in this process."),
  threads: count
    .optional()
    .describe("CPU threads.")
    .meta(derived("the cores this process may use")),
});

/** The whole recipe. `z.toJSONSchema` of it is published for editors (see json-schema.ts). */
export const recipeSchema = z.strictObject({
  model: modelSchema.describe("The model to start from: a folder, a GGUF file, or a hub id."),
  tokens: tokensSchema
    .prefault({})
    .describe(
      "Tokens that the model is given beyond its own; new rows start as the mean of the others.",
    ),
  data: dataSchema.describe("What it learns from."),
  method: z.discriminatedUnion("name", methodSchemas).describe("What of the model is trained."),
  objective: objectiveSchema.prefault({}).describe("What is optimised."),
  train: trainSchema.prefault({}).describe("The training loop."),
  compute: computeSchema.prefault({}).describe("Where it runs."),
  output: z
    .string()
    .optional()
    .describe("Run folder: checkpoints, metrics, the adapter.")
    .meta(derived("runs/<recipe name>-<number>")),
});

/**
 * Sections that may be written as one word: the word is the value of this key of theirs.
 * A `model` written so is a path where there is such a file, otherwise a hub id.
 */
export const SHORTHANDS: Readonly<Record<string, string>> = {
  model: "path",
  data: "train",
  method: "name",
  objective: "name",
};

/** What a person may write. */
export type RecipeInput = z.input<typeof recipeSchema>;

/** A valid recipe with its fixed defaults, before anything is derived. */
export type ParsedRecipe = z.output<typeof recipeSchema>;
