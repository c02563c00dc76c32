// What every method keeps to on every architecture. A new method or architecture joins by an entry
// in one of the two tables; the types and the first test say when one is missing.

import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { QuantizationOptions } from "../hub/index.ts";
import type { MethodOptions } from "../methods/index.ts";
import { supportedModelTypes } from "../models/index.ts";
import { createOptimizer } from "../runtime/optimizer.ts";
import { arrayDifference } from "../runtime/testing/array-difference.ts";
import { sizeOf } from "../tensor/index.ts";
import { initialLoopState, loadCheckpoint, saveCheckpoint } from "../train/checkpoint.ts";
import { DEFAULT_TRAINING_SETTINGS } from "../train/settings.ts";
import { runStep, type StepResult } from "../train/step.ts";
import { type Batch, countTargets } from "./batch.ts";
import type { EngineModel } from "./load.ts";
import { openModel } from "./load.ts";
import {
  batchOf,
  differentiate,
  largestDifference,
  openTiny,
  randomRows,
  type TinyModel,
} from "./testing/tiny-models.ts";

interface MethodEntry {
  readonly name: string;
  readonly options: MethodOptions;
  /** Whether a model with the method's first values computes what the base does. */
  readonly startsAsBase: boolean;
  /** Why its gradient is not the loss's slope; parity cases check it instead. */
  readonly withoutSlope?: string;
  readonly learningRate: number;
  /** Why rows cannot be cut to their own tokens or packed together. */
  readonly mixesPositions?: string;
  /** Why the loss of a batch is not the mean of those of its rows. */
  readonly looksAtBatch?: string;
  /** How the base is kept in memory. */
  readonly quantization?: QuantizationOptions;
}

const rows = randomRows([9, 6], 3) as [number[], number[]];

const BALANCES = "the balancing loss is of all tokens of a micro-batch together";
const NORMS_ARE_CONSTANT = "the norms of the weights are constants to it (DoRA, section 4.3)";

/** Three trained adapters, for the models whose hidden size is that of "base". */
const FUSED = ["alpha", "beta", "gamma"];
const FUSED_FOLDER = join(
  import.meta.dirname,
  "../../tests/parity/cases/adapterhub/fusion-static/adapter",
);

const METHODS: Readonly<Record<MethodOptions["name"], readonly MethodEntry[]>> = {
  lora: [
    {
      name: "LoRA",
      options: { name: "lora", rank: 4, alpha: 8 },
      startsAsBase: true,
      learningRate: 1e-2,
    },
    {
      name: "LoRA with every option",
      options: {
        name: "lora",
        rank: 4,
        targets: "all-linear",
        exclude: ["up_proj"],
        rankPattern: { q_proj: 2 },
        alphaPattern: { "v_proj|o_proj": 3 },
        rslora: true,
        bias: "all",
        modulesToSave: ["embed_tokens", "lm_head"],
        layersToTransform: [1],
        init: "gaussian",
      },
      startsAsBase: true,
      learningRate: 1e-2,
    },
    {
      name: "LoRA that starts anywhere",
      options: { name: "lora", rank: 2, init: false, targets: ["down_proj"] },
      startsAsBase: false,
      learningRate: 1e-2,
    },
    {
      name: "LoRA on embedding and head, faster in B",
      options: {
        name: "lora",
        rank: 4,
        targets: ["embed_tokens", "lm_head", "o_proj"],
        learningRateRatio: 4,
      },
      startsAsBase: true,
      learningRate: 1e-2,
    },
    {
      name: "LoRA with trained tokens",
      options: {
        name: "lora",
        rank: 4,
        trainableTokens: [...new Set(rows[0])].slice(0, 4),
      },
      startsAsBase: true,
      learningRate: 1e-2,
    },
    {
      name: "LoRA with trained tokens of the head",
      options: { name: "lora", rank: 4, trainableTokens: { lm_head: [1, 2, 3, 4, 5] } },
      startsAsBase: true,
      learningRate: 1e-2,
    },
    {
      name: "LoRA with biases of its own",
      options: { name: "lora", rank: 4, loraBias: true },
      startsAsBase: true,
      learningRate: 1e-2,
    },
    {
      name: "MiCA",
      options: { name: "lora", rank: 4, init: "mica", targets: "all-linear" },
      startsAsBase: true,
      learningRate: 3e-2,
    },
  ],
  dora: [
    {
      name: "DoRA",
      options: { name: "dora", rank: 4, alpha: 8, targets: "all-linear" },
      startsAsBase: true,
      withoutSlope: NORMS_ARE_CONSTANT,
      learningRate: 1e-2,
    },
    {
      name: "DoRA that starts anywhere, on the head",
      options: { name: "dora", rank: 2, init: false, targets: ["lm_head", "v_proj"] },
      startsAsBase: false,
      withoutSlope: NORMS_ARE_CONSTANT,
      learningRate: 1e-2,
    },
  ],
  qlora: [
    {
      name: "QLoRA",
      options: { name: "qlora", rank: 4, alpha: 8 },
      startsAsBase: true,
      learningRate: 1e-2,
      quantization: { type: "nf4" },
    },
    {
      name: "QLoRA over 8 bits",
      options: { name: "qlora", rank: 4, targets: ["q_proj", "down_proj"] },
      startsAsBase: true,
      learningRate: 1e-2,
      quantization: { type: "int8" },
    },
    {
      name: "DoRA over 4 bits",
      options: { name: "qlora", rank: 4, dora: true, targets: ["o_proj", "up_proj", "lm_head"] },
      startsAsBase: true,
      withoutSlope: NORMS_ARE_CONSTANT,
      learningRate: 1e-2,
      quantization: { type: "nf4" },
    },
  ],
  adalora: [
    {
      name: "AdaLoRA",
      options: { name: "adalora", initialRank: 3, targetRank: 2, targets: ["q_proj", "down_proj"] },
      startsAsBase: true,
      learningRate: 3e-2,
    },
  ],
  "moe-lora": [
    {
      name: "MixLoRA without balancing",
      options: { name: "moe-lora", experts: 3, topK: 2, rank: 2, balance: 0 },
      startsAsBase: true,
      learningRate: 2e-2,
    },
    {
      name: "MixLoRA",
      options: { name: "moe-lora", experts: 4, topK: 3, rank: 2, targets: ["up_proj", "q_proj"] },
      startsAsBase: true,
      looksAtBatch: BALANCES,
      learningRate: 2e-2,
    },
    {
      name: "LoRAMoE without balancing",
      options: { name: "moe-lora", routing: "dense", experts: 3, rank: 2, balance: 0 },
      startsAsBase: true,
      learningRate: 2e-2,
    },
    {
      name: "LoRAMoE",
      options: {
        name: "moe-lora",
        routing: "dense",
        experts: 2,
        rank: 2,
        balance: 0.5,
        targets: ["gate_proj", "down_proj"],
      },
      startsAsBase: true,
      looksAtBatch: BALANCES,
      learningRate: 2e-2,
    },
  ],
  full: [
    {
      name: "full fine-tuning",
      options: { name: "full" },
      startsAsBase: true,
      learningRate: 1e-3,
    },
  ],
  freeze: [
    {
      name: "the last block",
      options: { name: "freeze", blocks: 1 },
      startsAsBase: true,
      learningRate: 1e-2,
    },
    {
      name: "weights by their names",
      options: { name: "freeze", weights: ["embed_tokens", "mlp"] },
      startsAsBase: true,
      learningRate: 1e-3,
    },
  ],
  bitfit: [
    {
      name: "BitFit",
      options: { name: "bitfit" },
      startsAsBase: true,
      learningRate: 1e-2,
    },
  ],
  ia3: [
    {
      name: "(IA)³",
      options: { name: "ia3" },
      startsAsBase: true,
      learningRate: 3e-2,
    },
    {
      name: "(IA)³ on the head",
      options: { name: "ia3", targets: ["lm_head", "q_proj", "o_proj"], feedforward: ["o_proj"] },
      startsAsBase: true,
      learningRate: 3e-2,
    },
  ],
  "ln-tuning": [
    {
      name: "LN tuning",
      options: { name: "ln-tuning" },
      startsAsBase: true,
      learningRate: 1e-2,
    },
  ],
  prompt: [
    {
      name: "prompt tuning",
      options: { name: "prompt", virtualTokens: 4 },
      startsAsBase: false,
      learningRate: 3e-2,
    },
    {
      name: "prompt tuning from noise",
      options: { name: "prompt", virtualTokens: 1, init: "random" },
      startsAsBase: false,
      learningRate: 3e-1,
    },
  ],
  prefix: [
    {
      name: "prefix tuning",
      options: { name: "prefix", virtualTokens: 4 },
      startsAsBase: false,
      learningRate: 3e-2,
    },
    {
      name: "prefix tuning with an encoder",
      options: { name: "prefix", virtualTokens: 3, projection: true, encoderSize: 12 },
      startsAsBase: false,
      learningRate: 3e-2,
    },
  ],
  "p-tuning": [
    {
      name: "P-tuning by an MLP",
      options: { name: "p-tuning", virtualTokens: 4, encoderSize: 12 },
      startsAsBase: false,
      learningRate: 1e-2,
    },
    {
      name: "P-tuning by an LSTM",
      options: { name: "p-tuning", virtualTokens: 4, encoder: "lstm", encoderSize: 6 },
      startsAsBase: false,
      learningRate: 1e-2,
    },
  ],
  vera: [
    {
      name: "VeRA",
      options: { name: "vera", rank: 16 },
      startsAsBase: true,
      learningRate: 5e-2,
    },
    {
      name: "VeRA without its matrices in the file",
      options: {
        name: "vera",
        rank: 5,
        targets: ["q_proj", "down_proj", "lm_head"],
        saveProjection: false,
      },
      startsAsBase: true,
      learningRate: 5e-2,
    },
  ],
  loha: [
    {
      name: "LoHa that makes the weight",
      options: { name: "loha", rank: 6, alpha: 12, rankPattern: { q_proj: 4 } },
      startsAsBase: true,
      learningRate: 5e-2,
    },
    {
      name: "LoHa as factors",
      options: { name: "loha", rank: 2, init: false, targets: ["o_proj", "lm_head"] },
      startsAsBase: false,
      learningRate: 5e-2,
    },
  ],
  lokr: [
    {
      name: "LoKr",
      options: { name: "lokr", alpha: 32 },
      startsAsBase: true,
      learningRate: 3e-2,
    },
    {
      name: "LoKr of low-rank factors",
      options: {
        name: "lokr",
        rank: 2,
        targets: ["q_proj", "up_proj", "lm_head"],
        decomposeBoth: true,
        decomposeFactor: 6,
        alphaPattern: { q_proj: 4 },
        init: false,
      },
      startsAsBase: false,
      learningRate: 3e-2,
    },
  ],
  oft: [
    {
      name: "OFT",
      options: { name: "oft", blockSize: 8 },
      startsAsBase: true,
      learningRate: 1e-2,
    },
    {
      name: "OFT with exact rotations",
      options: {
        name: "oft",
        blocks: 4,
        targets: ["k_proj", "down_proj", "lm_head"],
        blockShare: true,
        cayleyNeumann: false,
      },
      startsAsBase: true,
      learningRate: 1e-2,
    },
  ],
  adapter: [
    {
      name: "Pfeiffer's adapters",
      options: { name: "adapter", reductionFactor: 8 },
      startsAsBase: false,
      learningRate: 1e-2,
    },
    {
      name: "Houlsby's adapters, invertible, in the last layer",
      options: {
        name: "adapter",
        preset: "double_seq_bn_inv",
        reductionFactor: { 1: 4, default: 8 },
        leaveOut: [0],
        normBefore: true,
        normAfter: true,
        invertsOutput: true,
        adapterName: "own-name",
      },
      startsAsBase: false,
      learningRate: 1e-2,
    },
    {
      name: "parallel adapters",
      options: { name: "adapter", preset: "scaled_par_bn", reductionFactor: 4 },
      startsAsBase: true,
      learningRate: 1e-2,
    },
    {
      name: "Compacter",
      options: { name: "adapter", preset: "compacter", reductionFactor: 4 },
      startsAsBase: false,
      learningRate: 3e-2,
    },
    {
      name: "Compacter with everything of its own",
      options: {
        name: "adapter",
        preset: "compacter++",
        reductionFactor: 4,
        phmDimension: 2,
        phmSharedRule: false,
        phmFactorizedRule: true,
        phmFactorizedWeights: false,
        scaling: "channel",
      },
      startsAsBase: false,
      learningRate: 3e-2,
    },
  ],
  "adapter-fusion": [
    {
      name: "AdapterFusion",
      options: { name: "adapter-fusion", adapters: FUSED.map((name) => join(FUSED_FOLDER, name)) },
      startsAsBase: false,
      learningRate: 1e-2,
    },
  ],
  unipelt: [
    {
      name: "UniPELT",
      options: { name: "unipelt" },
      startsAsBase: false,
      learningRate: 1e-2,
      mixesPositions: "gates average over whole rows, padding included",
    },
    {
      name: "mix and match",
      options: {
        name: "unipelt",
        union: [
          { kind: "prefix", length: 3, flat: true },
          { kind: "adapter", preset: "par_bn", reductionFactor: 8 },
        ],
      },
      startsAsBase: false,
      learningRate: 1e-2,
    },
    {
      name: "LoRA and adapters in different layers",
      options: {
        name: "unipelt",
        union: [
          { kind: "adapter", reductionFactor: 8, leaveOut: [0] },
          { kind: "lora", rank: 2, targets: ["k_proj", "up_proj"], leaveOut: [1] },
        ],
      },
      startsAsBase: false,
      learningRate: 1e-2,
    },
  ],
  boft: [
    {
      name: "BOFT",
      options: { name: "boft", targets: ["v_proj", "down_proj", "lm_head"] },
      startsAsBase: true,
      learningRate: 1e-2,
    },
    {
      name: "BOFT of three factors",
      options: { name: "boft", blockSize: 2, factors: 3, exclude: ["down_proj"] },
      startsAsBase: true,
      learningRate: 1e-2,
    },
  ],
  hra: [
    {
      name: "HRA",
      options: { name: "hra", rank: 2 },
      startsAsBase: true,
      learningRate: 1e-2,
    },
    {
      name: "HRA of an odd rank",
      options: { name: "hra", rank: 3, targets: ["o_proj", "lm_head"] },
      startsAsBase: false,
      learningRate: 1e-2,
    },
  ],
  miss: [
    {
      name: "MiSS",
      options: { name: "miss", rank: 8 },
      startsAsBase: true,
      learningRate: 1e-2,
    },
    {
      name: "MiSS of repeated rows",
      options: { name: "miss", rank: 5, variant: "mini", miniRank: 4 },
      startsAsBase: true,
      learningRate: 1e-2,
    },
  ],
  fourierft: [
    {
      name: "FourierFT",
      options: { name: "fourierft", frequencies: 40, init: "zero" },
      startsAsBase: true,
      learningRate: 1e-1,
    },
    {
      name: "FourierFT of few frequencies",
      options: {
        name: "fourierft",
        frequencies: 8,
        frequencyPattern: { q_proj: 4 },
        targets: ["q_proj", "down_proj", "lm_head"],
      },
      startsAsBase: false,
      learningRate: 3e-1,
    },
  ],
};

/**
 * One entry of each kind of hook: on architectures that differ from LLaMA in a part, the others would
 * show the same.
 */
const OF_EACH_KIND = [
  "LoRA",
  "QLoRA",
  "full fine-tuning",
  "the last block",
  "LN tuning",
  "prompt tuning",
  "Pfeiffer's adapters",
];

const AROUND_EXPERTS = [
  "LN tuning",
  "prompt tuning",
  "prefix tuning",
  "Pfeiffer's adapters",
  "parallel adapters",
];

/** Methods that change experts, and what stands around them. */
const ON_EXPERTS: readonly MethodEntry[] = [
  {
    name: "LoRA",
    options: { name: "lora", rank: 2, targets: "all-linear" },
    startsAsBase: true,
    learningRate: 1e-2,
  },
  {
    name: "LoRA on routers",
    options: { name: "lora", rank: 2, targets: ["gate", "o_proj"] },
    startsAsBase: true,
    learningRate: 3e-2,
  },
  {
    name: "QLoRA",
    options: { name: "qlora", rank: 2, targets: "all-linear" },
    startsAsBase: true,
    learningRate: 1e-2,
    quantization: { type: "nf4" },
  },
  {
    name: "DoRA",
    options: { name: "dora", rank: 2, targets: "all-linear" },
    startsAsBase: true,
    withoutSlope: NORMS_ARE_CONSTANT,
    learningRate: 1e-2,
  },
  {
    name: "AdaLoRA",
    options: { name: "adalora", initialRank: 3, targetRank: 2, targets: "all-linear" },
    startsAsBase: true,
    learningRate: 1e-2,
  },
  {
    name: "OFT",
    options: { name: "oft", blockSize: 4, targets: "all-linear" },
    startsAsBase: true,
    learningRate: 3e-3,
  },
  {
    name: "BitFit",
    options: { name: "bitfit", targets: "all-linear" },
    startsAsBase: true,
    learningRate: 1e-2,
  },
  {
    name: "full fine-tuning",
    options: { name: "full" },
    startsAsBase: true,
    learningRate: 1e-3,
  },
  {
    name: "routers alone",
    options: { name: "freeze", parts: "routers" },
    startsAsBase: true,
    learningRate: 3e-2,
  },
  {
    name: "experts alone, of the last block",
    options: { name: "freeze", parts: "experts", blocks: 1 },
    startsAsBase: true,
    learningRate: 1e-2,
  },
];

const ARCHITECTURES: Readonly<Record<string, readonly TinyModel[]>> = {
  llama: ["base", "untied-head", "biases", "head-dim"],
  mistral: ["mistral-window"],
  mixtral: ["mixtral"],
  qwen2: ["qwen2"],
  qwen2_moe: ["qwen2-moe-mixed"],
  qwen3: ["qwen3"],
};

const all = Object.values(METHODS).flat();
const further = all.filter(({ name }) => OF_EACH_KIND.includes(name));
const aroundExperts = all.filter(({ name }) => AROUND_EXPERTS.includes(name));

/** Which entries run on which model; where it is not named, all. */
const CHOSEN: Readonly<Partial<Record<TinyModel, readonly MethodEntry[]>>> = {
  "mistral-window": further,
  mixtral: [...ON_EXPERTS, ...aroundExperts],
  qwen2: further,
  "qwen2-moe-mixed": [...ON_EXPERTS, ...aroundExperts],
  qwen3: further,
};

/** What a checkpoint keeps does not depend on the model's kind: a dense one and one with experts tell. */
const resumed: ReadonlySet<TinyModel> = new Set(["base", "mixtral"]);

const pairs = Object.values(ARCHITECTURES)
  .flat()
  .flatMap((tiny) => (CHOSEN[tiny] ?? all).map((entry) => ({ tiny, method: entry.name, entry })));

it("the contract covers every architecture", () => {
  expect(Object.keys(ARCHITECTURES).sort()).toEqual([...supportedModelTypes].sort());
});

const batch: Batch = {
  inputIds: [rows[0], [...rows[1], 0, 0, 0]],
  labels: [rows[0], [...rows[1], -100, -100, -100]],
  attentionMask: [rows[0].map(() => 1), [1, 1, 1, 1, 1, 1, 0, 0, 0]],
};
const packed: Batch = {
  inputIds: [[...rows[0], ...rows[1]]],
  labels: [[...rows[0], -100, ...rows[1].slice(1)]],
  segmentIds: [[...rows[0].map(() => 1), ...rows[1].map(() => 2)]],
  positionIds: [[...rows[0].keys(), ...rows[1].keys()]],
};

const logitsOf = async (model: EngineModel) =>
  (await model.forward({ inputIds: [rows[0]] })).logits.data;

describe.each(pairs)("$method on $tiny", ({ tiny, entry }) => {
  const { options, startsAsBase, learningRate, mixesPositions, quantization } = entry;
  let folder: string;
  let model: EngineModel;
  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), "tunesmith-contract-"));
    model = await openTiny(tiny, { method: options, quantization, seed: 7 });
  });
  afterAll(async () => {
    await model.dispose();
    await rm(folder, { recursive: true });
  });

  it("declares tensors of its own names and shapes", () => {
    expect(model.parameters.length).toBeGreaterThan(0);
    expect(new Set(model.parameters.map(({ name }) => name)).size).toBe(model.parameters.length);
    for (const { shape, data, gradient } of model.parameters) {
      expect(data.length).toBe(sizeOf(shape));
      expect(gradient.length).toBe(sizeOf(shape));
    }
  });

  it.runIf(startsAsBase)("changes nothing before it is trained", async () => {
    const base = await openTiny(tiny, { quantization });
    expect(arrayDifference(await logitsOf(model), await logitsOf(base))).toBeLessThan(1e-6);
    await base.dispose();
  });

  it("gives the same gradients lean or fast, padded or packed, at once or accumulated", async () => {
    const padded = await differentiate(model, [batch]);
    const alone = [batchOf([rows[0]]), batchOf([rows[1]])];
    if (mixesPositions)
      await expect(differentiate(model, [packed])).rejects.toThrow("a row holds one sample");
    else if (!entry.looksAtBatch) {
      expect(largestDifference(await differentiate(model, alone), padded)).toBeLessThan(1e-4);
      expect(largestDifference(await differentiate(model, [packed]), padded)).toBeLessThan(1e-4);
    }
    const lean = await openTiny(tiny, { method: options, quantization, seed: 7, memory: "lean" });
    expect(largestDifference(await differentiate(lean, [batch]), padded)).toBeLessThan(1e-4);
    await lean.dispose();
  });

  it.skipIf(entry.withoutSlope)(
    "has the gradient that the loss's slope along it shows",
    async () => {
      const { gradients } = await differentiate(model, [batch]);
      const squares = [...gradients.values()].map((values) =>
        values.reduce((sum, value) => sum + value * value, 0),
      );
      const norm = Math.sqrt(squares.reduce((sum, square) => sum + square, 0));
      const step = 0.005 / norm; // changes the loss by some 0.5 %: far above rounding, near to linear
      const lossAt = async (distance: number) => {
        for (const { name, data } of model.parameters)
          gradients.get(name)!.forEach((value, i) => {
            data[i]! += (distance * value) / norm;
          });
        return (await differentiate(model, [batch])).loss;
      };
      const above = await lossAt(step);
      const below = await lossAt(-2 * step);
      await lossAt(step);
      expect(Math.abs((above - below) / (2 * step) / norm - 1)).toBeLessThan(0.01);
    },
  );

  it("learns, and stays what it was through saving, loading and merging", async () => {
    const optimizer = createOptimizer(model.parameters, { name: "adamw" });
    const before = (await model.evaluateLoss(batch)).lossSum;
    for (let step = 0; step < 8; step++) {
      await differentiate(model, [batch]);
      optimizer.step(learningRate);
    }
    expect((await model.evaluateLoss(batch)).lossSum).toBeLessThan(0.95 * before);
    for (const { name, gradient } of model.parameters)
      expect(
        gradient.some((value) => value !== 0),
        name,
      ).toBe(true);

    const trained = await logitsOf(model);
    await model.saveAdapter(join(folder, "saved"));
    const saved =
      model.method?.saved === "checkpoint"
        ? await openModel(join(folder, "saved"), { threads: 1 })
        : await openTiny(tiny, { adapter: join(folder, "saved"), quantization });
    expect(arrayDifference(await logitsOf(saved), trained)).toBeLessThan(1e-6);
    await saved.dispose();

    if (model.method?.unmergeable) {
      await expect(model.merge(join(folder, "merged"))).rejects.toThrow(/can be made part/);
      return;
    }
    await model.merge(join(folder, "merged"));
    const merged = await openModel(join(folder, "merged"), { threads: 1 });
    expect(arrayDifference(await logitsOf(merged), trained)).toBeLessThan(1e-5);
    await merged.dispose();
    expect(await logitsOf(model)).toEqual(trained);
  });

  if (resumed.has(tiny))
    it("resumed from a checkpoint, goes on bit for bit as if it had never stopped", async () => {
      const settings = { ...DEFAULT_TRAINING_SETTINGS, learningRate };
      const group = { batches: [batch], targets: countTargets(batch.labels!), endsEpoch: false };
      const begin = async () => {
        const opened = await openTiny(tiny, { method: options, quantization, seed: 7 });
        return { opened, optimizer: createOptimizer(opened.parameters, { name: "adamw" }) };
      };
      const steps = async (
        { opened, optimizer }: Awaited<ReturnType<typeof begin>>,
        from: number,
      ) => {
        const results: StepResult[] = [];
        for (let step = from; step < from + 3; step++) {
          const request = { group, learningRate, position: { step } };
          results.push((await runStep(opened, optimizer, settings, request))!);
        }
        const { parameters, schedule } = opened;
        const kept = [...parameters, ...(schedule?.state ?? [])];
        return { results, ends: kept.map(({ name, data }) => [name, data.slice()]) };
      };

      const whole = await begin();
      whole.opened.schedule?.begin(6);
      const first = await steps(whole, 0);
      const checkpoint = await saveCheckpoint(
        join(folder, "checkpoints"),
        whole.opened,
        whole.optimizer,
        { state: { ...initialLoopState(), step: 3 }, settings },
      );
      const expected = await steps(whole, 3);
      await whole.opened.dispose();
      expect(expected).not.toEqual(first);

      const again = await begin();
      await loadCheckpoint(checkpoint, again.opened, again.optimizer);
      again.opened.schedule?.begin(6);
      expect(await steps(again, 3)).toEqual(expected);
      await again.opened.dispose();
    });
});

it("a 16-bit checkpoint stays 16-bit in memory, and computes what its widened form does", async () => {
  const [half, wide] = [
    await openTiny("f16-weights"),
    await openTiny("f16-weights", { dtype: "float32" }),
  ];
  expect(half.weights.bytes).toBeLessThan(0.6 * wide.weights.bytes);
  const inputIds = [[1, 5, 9, 13]];
  expect(await half.forward({ inputIds })).toEqual(await wide.forward({ inputIds }));
  await half.dispose();
  await wide.dispose();
});

it("rows do not see each other", async () => {
  const model = await openTiny("base");
  const together = (await model.forward(batchOf([rows[0], [...rows[1], 0, 0, 0]]))).logits.data;
  const alone = (await model.forward(batchOf([rows[0]]))).logits.data;
  expect(arrayDifference(together.slice(0, alone.length), alone)).toBeLessThan(1e-5);
  await model.dispose();
});
