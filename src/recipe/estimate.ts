// What a run will take, from shapes alone: memory by its terms, arithmetic by its products, and time
// from the speed of a product measured on this machine. Meant to be right within a third or so; it
// says before an hour of training whether it fits.

import { type HeadKind, LOGIT_BYTES, NUMBERS_OF_ROW, rowLimit } from "../engine/head/head-kind.ts";
import type { BoundArchitecture, Dimensions, WeightSpec } from "../models/index.ts";
import type { Runtime } from "../runtime/kernel.ts";
import { floats } from "../runtime/values.ts";
import { input, linear } from "../tensor/index.ts";
import type { WeightBytes } from "./weight-bytes.ts";

export interface EstimateInput {
  readonly dimensions: Dimensions;
  readonly weights: readonly WeightSpec[];
  /** Tokens or labels that a logit is made for. */
  readonly logitCount: number;
  /** How they are made. */
  readonly head: HeadKind;
  /** Of the frozen weights. */
  readonly weightBytes: WeightBytes;
  /** Numbers that are trained. */
  readonly trainable: number;
  /** Numbers that the optimizer keeps for each of them: 2 for AdamW, 1 for SGD. */
  readonly optimizerSlots: number;
  /** Numbers that the method keeps without training them: shared matrices, a schedule's memory. */
  readonly untrained: number;
  /** Rows of a micro-batch, and tokens of its longest row. */
  readonly rows: number;
  readonly rowTokens: number;
  readonly memory: "fast" | "lean";
  /** Tokens and trained positions that one step reads, padding left out. */
  readonly stepTokens: number;
  readonly stepTargets: number;
  readonly steps: number;
}

export interface MemoryTerm {
  readonly name: string;
  readonly bytes: number;
}

export interface Estimate {
  readonly memory: readonly MemoryTerm[];
  readonly memoryBytes: number;
  readonly floatingPointOperations: number;
}

const FLOAT = 4;
/** Node.js and ONNX Runtime with nothing loaded. */
const PROCESS_BYTES = 180e6;
/** Of a tokenizer, for each token: 0.9 kB measured with SmolLM2's 49,152, 1.3 with Gemma 3's 262,144. */
const TOKEN_BYTES = 1000;

/**
 * A model's weights as tokens go through them. Those of an encoder of images are held like the others; what
 * images take beside is told by `estimate-images.ts`.
 */
export function weightsOfTexts({
  weights,
  images,
}: Pick<BoundArchitecture, "weights" | "images">): readonly WeightSpec[] {
  if (!images) return weights;
  const ofImages = new Set(images.stack.weights.map(({ name }) => name));
  return weights.map((weight) =>
    weight.role === "linear" && ofImages.has(weight.name) ? { ...weight, role: "patches" } : weight,
  );
}

/** Memory at the peak and arithmetic of the whole run. */
export function estimate(given: EstimateInput): Estimate {
  const { dimensions, weights, rows, rowTokens, memory, trainable } = given;
  const positions = rows * rowTokens;
  const linears = weights.filter(({ role }) => role === "linear");
  const outputSizes = linears.reduce((sum, { shape, share = 1 }) => sum + share * shape[0]!, 0);
  const blockOutputs = outputSizes / dimensions.layers;
  const scores = rows * dimensions.heads * rowTokens * rowTokens;
  const saved =
    memory === "fast"
      ? outputSizes + dimensions.hiddenSize * dimensions.layers
      : dimensions.hiddenSize * dimensions.layers;
  const terms: MemoryTerm[] = [
    ...programTerms(dimensions),
    ...weightTerms("frozen weights", given.weightBytes),
    {
      name: "trained weights, gradients, optimizer",
      bytes: trainable * FLOAT * (2 + given.optimizerSlots),
    },
    { name: "untrained tensors of the method", bytes: given.untrained * FLOAT },
    { name: "saved for the backward pass", bytes: positions * saved * FLOAT },
    {
      name: "one block at work",
      bytes: (2 * positions * (blockOutputs + 2 * dimensions.hiddenSize) + 2 * scores) * FLOAT,
    },
    {
      name: "logits",
      bytes: logitNumbers(positions, given) * FLOAT,
    },
  ];
  return {
    memory: terms,
    memoryBytes: terms.reduce((sum, { bytes }) => sum + bytes, 0),
    floatingPointOperations: stepOperations(given) * given.steps,
  };
}

export interface GenerationInput
  extends Pick<EstimateInput, "dimensions" | "weights" | "logitCount" | "weightBytes"> {
  /** Positions of one sequence: the prompt, which is read at once, and its answer. */
  readonly tokens: number;
}

/** Memory at the peak of one answer. */
export function estimateGeneration(given: GenerationInput): MemoryTerm[] {
  const { dimensions, weights, tokens } = given;
  const { layers, keyValueHeads, headSize, heads, hiddenSize } = dimensions;
  const outputSizes = weights.reduce(
    (sum, { role, shape, share = 1 }) => (role === "linear" ? sum + share * shape[0]! : sum),
    0,
  );
  return [
    ...programTerms(dimensions),
    ...weightTerms("weights", given.weightBytes),
    { name: "keys and values", bytes: 2 * layers * keyValueHeads * headSize * tokens * FLOAT },
    {
      name: "one block at work",
      bytes: (tokens * (outputSizes / layers + 2 * hiddenSize) + heads * tokens * tokens) * FLOAT,
    },
    { name: "logits", bytes: given.logitCount * FLOAT },
  ];
}

const programTerms = ({ vocabularySize }: Dimensions): MemoryTerm[] => [
  { name: "program", bytes: PROCESS_BYTES },
  { name: "tokenizer", bytes: vocabularySize * TOKEN_BYTES },
];

const weightTerms = (name: string, { held, reordered, widened }: WeightBytes): MemoryTerm[] => [
  { name, bytes: held },
  { name: "weights in the order of products", bytes: reordered },
  { name: "weights widened for a block", bytes: widened },
];

/** Logits that are there at once, and what is made of them. */
function logitNumbers(positions: number, { head, memory, logitCount }: EstimateInput): number {
  const rows = Math.min(positions, rowLimit(LOGIT_BYTES[memory], head, logitCount));
  return rows * NUMBERS_OF_ROW[head](logitCount);
}

/**
 * Multiplications and additions of one step. A product with a frozen matrix of n numbers costs 2n a
 * token forward and 2n backward; recomputation repeats the forward one; a trained number costs 6.
 */
function stepOperations(given: EstimateInput): number {
  const { dimensions, weights, stepTokens, stepTargets, rowTokens, memory, trainable } = given;
  const linearSize = weights
    .filter(({ role }) => role === "linear")
    .reduce((sum, { shape, share = 1 }) => sum + share * shape[0]! * shape[1]!, 0);
  const passes = memory === "fast" ? 2 : 3;
  const attention = 2 * dimensions.layers * dimensions.heads * dimensions.headSize * rowTokens;
  const perToken = passes * (2 * linearSize + attention) + 6 * Math.min(trainable, linearSize);
  const head = 2 * dimensions.hiddenSize * given.logitCount;
  return stepTokens * perToken + stepTargets * 2 * head;
}

/** The share of a bare product's speed that a whole step reaches. */
export const USUAL_EFFICIENCY = 0.75;

/** Floating-point operations per second of a product of the usual size; measured in about 0.2 s. */
export async function measureProductSpeed(runtime: Runtime): Promise<number> {
  const [rows, inputSize, outputSize] = [1024, 576, 1536];
  const x = input("x", [rows, inputSize]);
  const weight = input("weight", [outputSize, inputSize]);
  const kernel = await runtime.compile([linear(x, weight)], [x, weight]);
  const values = [
    floats(new Float32Array(rows * inputSize).fill(0.5), [rows, inputSize]),
    floats(new Float32Array(outputSize * inputSize).fill(0.5), [outputSize, inputSize]),
  ];
  const into = [floats(new Float32Array(rows * outputSize), [rows, outputSize])];
  let best = Number.POSITIVE_INFINITY;
  for (let run = 0; run < 8; run++) {
    const start = performance.now();
    await kernel.run(values, into);
    best = Math.min(best, performance.now() - start);
  }
  return (2 * rows * inputSize * outputSize) / (best / 1000);
}
