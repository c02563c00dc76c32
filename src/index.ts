// The public names of tunesmith. Importing this file runs nothing and loads no engine: each function
// brings in what it needs when it is called first. All of them take a signal, which ends what they do
// with its reason, but for `describeAdapter`, which reads one small file; training ends in good order.

import type { AdapterDescription } from "./adapters/index.ts";
import type { LoadedModel, LoadModelOptions } from "./api/index.ts";
import type { RequantizationLoss } from "./engine/weights/requantization.ts";
import type { ConvertAdapterOptions, MergeAdaptersOptions } from "./recipe/adapters.ts";
import type { Conversation, ConversationOptions } from "./recipe/conversation.ts";
import type { EvaluateOptions, EvaluationReport } from "./recipe/evaluate.ts";
import type { ExportOptions } from "./recipe/export.ts";
import type { GenerateFileOptions, GenerateFileProgress } from "./recipe/generate-file.ts";
import type { MergeOptions } from "./recipe/merge.ts";
import type { Plan } from "./recipe/plan.ts";
import type { PrepareOptions, RecipeSource } from "./recipe/prepare.ts";
import type { TrainOptions } from "./recipe/train.ts";
import type { TrainEvent } from "./train/events.ts";

export type { AdapterDescription, AdapterPart, MergeMethod } from "./adapters/index.ts";
export type {
  AdapterOptions,
  Classified,
  ForwardResult,
  GradientSettings,
  LoadedAdapters,
  LoadedModel,
  LoadModelOptions,
  LossAndGradients,
  TrainStepOptions,
  TrainStepResult,
} from "./api/index.ts";
export type { AdapterChoice, AdapterSelection } from "./engine/adapters/adapter-set.ts";
export type { Batch, PixelValues } from "./engine/batch.ts";
export type { NumericArray } from "./engine/model.ts";
export type { FloatingType, FolderOptions } from "./engine/save.ts";
export type { RequantizationLoss } from "./engine/weights/requantization.ts";
export { type ErrorCode, type Fault, TunesmithError } from "./errors.ts";
export type {
  ChosenLogProbability,
  FinishedReply,
  GenerateOptions,
  GenerateResult,
  GenerationRequest,
  JsonSchema,
  Reply,
  Requests,
  RequestsOptions,
  ResponseFormat,
  TextPiece,
  TokenLogProbability,
} from "./generate/index.ts";
export type { ContentPart, Tokenizer } from "./hub/tokenizers/tokenizer-types.ts";
export type { FullOptions, LoraOptions, MethodOptions } from "./methods/index.ts";
export type { Problem } from "./models/index.ts";
export type { Verdict } from "./objectives/index.ts";
export type { ConvertAdapterOptions, MergeAdaptersOptions } from "./recipe/adapters.ts";
export type { Conversation, ConversationOptions } from "./recipe/conversation.ts";
export type { EvaluateOptions, EvaluationReport } from "./recipe/evaluate.ts";
export type { ExportOptions } from "./recipe/export.ts";
export type { GenerateFileOptions, GenerateFileProgress } from "./recipe/generate-file.ts";
export type { MergeOptions } from "./recipe/merge.ts";
export type { Override } from "./recipe/overrides.ts";
export type { Plan } from "./recipe/plan.ts";
export type { RecipeSource } from "./recipe/prepare.ts";
export type { Message as ChatMessage } from "./recipe/prompts.ts";
export type { RecipeInput } from "./recipe/schema.ts";
export type { TrainOptions } from "./recipe/train.ts";
export type {
  CheckpointSaved,
  EvaluationFinished,
  RunFinished,
  RunStarted,
  StepFinished,
  StopReason,
  TrainEvent,
} from "./train/events.ts";

/**
 * Trains as a recipe says: a recipe file, or the same as an object. Nothing happens before the first
 * event is asked for; leaving the loop ends the run.
 *
 * @throws TunesmithError for anything wrong with the recipe, the model, the data or the run folder.
 * @example
 *     for await (const event of train("recipe.yaml"))
 *       if (event.type === "step-finished") console.log(event.step, event.loss);
 */
export async function* train(
  recipe: RecipeSource,
  options: TrainOptions = {},
): AsyncGenerator<TrainEvent, void> {
  const { train } = await import("./recipe/train.ts");
  yield* train(recipe, options);
}

/**
 * What `train` would do: every value of the recipe with its source, a preview of the data, and
 * estimates of memory and time.
 *
 * @throws TunesmithError for everything that would keep the recipe from starting.
 */
export async function plan(recipe: RecipeSource, options: PrepareOptions = {}): Promise<Plan> {
  const { planRecipe } = await import("./recipe/plan.ts");
  return planRecipe(recipe, options);
}

/**
 * Held-out loss of a model, and of the same model with an adapter.
 *
 * @throws TunesmithError where there is nothing to evaluate.
 */
export async function evaluate(options: EvaluateOptions): Promise<EvaluationReport> {
  const { evaluateRecipe } = await import("./recipe/evaluate.ts");
  return evaluateRecipe(options);
}

/**
 * Writes a model with an adapter made part of its weights.
 *
 * @throws TunesmithError where the files do not fit each other or the folder holds something.
 */
export async function merge(options: MergeOptions): Promise<RequantizationLoss | undefined> {
  const { merge } = await import("./recipe/merge.ts");
  return merge(options);
}

/**
 * Writes a model, with an adapter made part of its weights or without, as a GGUF file for llama.cpp, or
 * as a folder for ONNX Runtime in browsers and in Node.
 *
 * @throws TunesmithError for what the format has no words for, and where something is at `out`.
 * @example
 *     await exportModel({ model: "./base", adapter: "./mine", dtype: "q4_k", out: "mine.gguf" });
 */
export async function exportModel(options: ExportOptions): Promise<void> {
  const { exportModel } = await import("./recipe/export.ts");
  return exportModel(options);
}

/**
 * What an adapter's folder holds: its method, modules, ranks, sizes and norms.
 *
 * @throws TunesmithError for a folder that is no adapter.
 */
export async function describeAdapter(folder: string): Promise<AdapterDescription> {
  const { describeAdapterFolder } = await import("./recipe/adapters.ts");
  return describeAdapterFolder(folder);
}

/**
 * Makes one LoRA adapter of several, in the ways of PEFT's `add_weighted_adapter`.
 *
 * @throws TunesmithError for adapters that do not fit each other, and settings out of range.
 * @example
 *     await mergeAdapters({ adapters: ["./a", "./b"], weights: [0.7, 0.3], out: "./ab" });
 */
export async function mergeAdapters(options: MergeAdaptersOptions): Promise<void> {
  const { mergeAdapters } = await import("./recipe/adapters.ts");
  return mergeAdapters(options);
}

/**
 * Writes an adapter as a LoRA, from any method that changes linear weights, or as llama.cpp's GGUF.
 *
 * @throws TunesmithError for a method that has no such form.
 * @example
 *     await convertAdapter({ adapter: "./lora", to: "gguf", model: "./base", out: "lora.gguf" });
 */
export async function convertAdapter(options: ConvertAdapterOptions): Promise<void> {
  const { convertAdapter } = await import("./recipe/adapters.ts");
  return convertAdapter(options);
}

/**
 * Loads a model to be run, differentiated, trained and asked to continue texts, in plain arrays.
 *
 * @param reference a checkpoint folder, a GGUF file, or a hub id such as `owner/name`
 * @throws TunesmithError for files that are damaged or do not fit each other, and for options that
 *   do not.
 * @example
 *     await using model = await loadModel("./SmolLM2-135M-Instruct", {
 *       method: { name: "lora", rank: 8, targets: ["q_proj", "v_proj"] },
 *     });
 *     const inputIds = [[1, 4093, 198, 2]];
 *     const { loss, gradients } = await model.lossAndGradients({ inputIds, labels: inputIds });
 *     await model.trainStep({ inputIds, labels: inputIds }, { learningRate: 2e-4, maxGradNorm: 1 });
 *     await model.saveAdapter("./my-adapter");
 */
export async function loadModel(
  reference: string,
  options: LoadModelOptions = {},
): Promise<LoadedModel> {
  const { loadModel } = await import("./api/index.ts");
  return loadModel(reference, options);
}

/**
 * Opens a model to talk to: messages in, the answer as text that comes piece by piece.
 *
 * @throws TunesmithError for files that are damaged or do not fit each other.
 * @example
 *     const conversation = await openConversation({ model: "./my-model" });
 *     for await (const piece of conversation.answer([{ role: "user", content: "Hello" }]))
 *       process.stdout.write(piece);
 *     await conversation.dispose();
 */
export async function openConversation(options: ConversationOptions): Promise<Conversation> {
  const { openConversation } = await import("./recipe/conversation.ts");
  return openConversation(options);
}

/**
 * Answers the prompts of a file into a file, several at once.
 *
 * @throws TunesmithError for a record without a prompt and files that do not fit each other.
 * @example
 *     await generateFile({ model: "./my-model", data: "questions.jsonl", out: "answers.jsonl" });
 */
export async function generateFile(options: GenerateFileOptions): Promise<GenerateFileProgress> {
  const { generateFile } = await import("./recipe/generate-file.ts");
  return generateFile(options);
}
