// The methods as the contract's checks go through them: every method at least once, with options that
// reach what it can do. The types say when one is missing.

import { join } from "node:path";
import type { QuantizationOptions } from "../../hub/index.ts";
import type { MethodOptions } from "../../methods/index.ts";
import type { Batch } from "../batch.ts";
import { batch, rows } from "./contract-batches.ts";

export interface MethodEntry {
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
  /** Why the base's weights are not those of the checkpoint to the last digit. */
  readonly remakesBase?: string;
  /** How the base is kept in memory. */
  readonly quantization?: QuantizationOptions;
  /** Batches that its initialisation looks at. */
  readonly data?: readonly Batch[];
}

const BALANCES = "the balancing loss is of all tokens of a micro-batch together";
const REFLECTS_TWICE = "reflections that undo one another are rounded";
const TAKES_A_PART = "W - s B A is rounded";
export const NORMS_ARE_CONSTANT =
  "the norms of the weights are constants to it (DoRA, section 4.3)";

/** Three trained adapters, for the models whose hidden size is that of "base". */
const FUSED = ["alpha", "beta", "gamma"];
const FUSED_FOLDER = join(
  import.meta.dirname,
  "../../../tests/parity/cases/adapterhub/fusion-static/adapter",
);

/** Two trained LoRAs of the feed-forward, for the same models. */
const MIXED = ["expert-0", "expert-1"].map((name) =>
  join(import.meta.dirname, "../../../tests/parity/cases/xlora/softmax/adapter", name),
);

export const METHODS: Readonly<Record<MethodOptions["name"], readonly MethodEntry[]>> = {
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
    {
      name: "PiSSA",
      options: { name: "lora", rank: 2, init: "pissa", targets: ["q_proj", "down_proj"] },
      startsAsBase: true,
      remakesBase: TAKES_A_PART,
      learningRate: 1e-2,
    },
    {
      name: "OLoRA",
      options: { name: "lora", rank: 3, init: "olora", rankPattern: { o_proj: 2 } },
      startsAsBase: true,
      remakesBase: TAKES_A_PART,
      learningRate: 1e-2,
    },
    {
      name: "EVA",
      options: { name: "lora", rank: 2, init: "eva", targets: "all-linear", evaTau: 0.8 },
      data: [batch],
      startsAsBase: true,
      learningRate: 1e-2,
    },
  ],
  dora: [
    {
      name: "DoRA",
      options: { name: "dora", rank: 4, alpha: 8, targets: "all-linear" },
      startsAsBase: true,
      remakesBase: "a row times its norm over its norm is rounded",
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
      name: "LoftQ",
      options: { name: "qlora", rank: 4, init: "loftq" },
      startsAsBase: false,
      learningRate: 1e-2,
      quantization: { type: "nf4" },
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
      options: {
        name: "loha",
        rank: 6,
        alpha: 12,
        rankPattern: { "q_proj|query_key_value|c_attn|qkv_proj": 4 },
      },
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
  "x-lora": [
    {
      name: "X-LoRA",
      options: { name: "x-lora", adapters: MIXED },
      startsAsBase: false,
      learningRate: 1e-1,
    },
    {
      name: "X-LoRA of a deep classifier, layer by layer",
      options: {
        name: "x-lora",
        adapters: MIXED,
        layerwise: true,
        depth: 2,
        size: 12,
        dropout: 0,
        softmax: false,
        trainAdapters: true,
        weight: 2,
      },
      startsAsBase: false,
      learningRate: 1e-2,
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
      remakesBase: REFLECTS_TWICE,
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
