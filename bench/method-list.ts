// The methods that bench/methods.ts and bench/quality.ts measure, each beside the same thing in PEFT
// where it has it. Modules are LoRA's usual two wherever a method may choose.

import type { QuantizationType } from "../src/hub/index.ts";
import type { MethodName, MethodOptions } from "../src/methods/index.ts";

export interface MeasuredMethod {
  /** As the table shows it. */
  readonly label: string;
  readonly options: MethodOptions;
  /** The usual peak on the quickstart's task; a sweep goes around it (learning-rates.ts). */
  readonly learningRate: number;
  /** PEFT's configuration class and its arguments; absent where PEFT has no such method. */
  readonly peft?: { readonly config: string; readonly [argument: string]: unknown };
  /** The type to which bitsandbytes quantises PEFT's base; scales are quantised too. */
  readonly quantization?: QuantizationType;
}

const targets = ["q_proj", "v_proj"];
const target_modules = targets;
const feedForward = ["gate_proj", "up_proj", "down_proj"];
const virtualTokens = 20;
/** In place of measurements that nobody makes, the reason. */
type Entry = readonly MeasuredMethod[] | string;

/** Every method has its entry; the compiler says when one is missing. */
export const METHODS: Readonly<Record<MethodName, Entry>> = {
  lora: [
    {
      label: "LoRA",
      options: { name: "lora", rank: 8, alpha: 16, targets },
      learningRate: 4e-3,
      peft: { config: "LoraConfig", r: 8, lora_alpha: 16, target_modules },
    },
    {
      label: "LoRA, all linear layers",
      options: { name: "lora", rank: 8, alpha: 16, targets: "all-linear" },
      learningRate: 4e-3,
      peft: { config: "LoraConfig", r: 8, lora_alpha: 16, target_modules: "all-linear" },
    },
  ],
  qlora: [
    {
      label: "QLoRA",
      options: { name: "qlora", rank: 8, alpha: 16, targets },
      learningRate: 4e-3,
      peft: { config: "LoraConfig", r: 8, lora_alpha: 16, target_modules },
      quantization: "nf4",
    },
  ],
  dora: [
    {
      label: "DoRA",
      options: { name: "dora", rank: 8, alpha: 16, targets },
      learningRate: 4e-3,
      peft: { config: "LoraConfig", use_dora: true, r: 8, lora_alpha: 16, target_modules },
    },
  ],
  adalora: [
    {
      label: "AdaLoRA",
      options: { name: "adalora", targets, initialSteps: 0, finalSteps: 10 },
      learningRate: 8e-3,
      peft: { config: "AdaLoraConfig", target_modules, total_step: 1000, tfinal: 10 },
    },
  ],
  "moe-lora": [
    {
      label: "MixLoRA, 2 of 4 experts",
      options: { name: "moe-lora", experts: 4, rank: 4, alpha: 8, targets: feedForward },
      learningRate: 4e-3,
    },
    {
      label: "LoRAMoE, 4 experts",
      options: {
        name: "moe-lora",
        routing: "dense",
        experts: 4,
        rank: 4,
        alpha: 8,
        targets: feedForward,
      },
      learningRate: 4e-3,
    },
  ],
  vera: [
    {
      label: "VeRA",
      options: { name: "vera", targets },
      learningRate: 2e-2,
      peft: { config: "VeraConfig", target_modules },
    },
  ],
  loha: [
    {
      label: "LoHa",
      options: { name: "loha", targets },
      learningRate: 4e-3,
      peft: { config: "LoHaConfig", r: 8, alpha: 8, target_modules },
    },
  ],
  lokr: [
    {
      label: "LoKr",
      options: { name: "lokr", targets },
      learningRate: 4e-3,
      peft: { config: "LoKrConfig", r: 8, alpha: 8, target_modules },
    },
  ],
  oft: [
    {
      label: "OFT",
      options: { name: "oft", targets },
      learningRate: 4e-3,
      peft: { config: "OFTConfig", oft_block_size: 32, target_modules },
    },
  ],
  boft: [
    {
      label: "BOFT",
      options: { name: "boft", targets },
      learningRate: 4e-3,
      peft: { config: "BOFTConfig", boft_block_size: 4, target_modules },
    },
  ],
  hra: [
    {
      label: "HRA",
      options: { name: "hra", targets },
      learningRate: 4e-3,
      peft: { config: "HRAConfig", r: 8, target_modules },
    },
  ],
  miss: [
    {
      label: "MiSS",
      options: { name: "miss", targets },
      learningRate: 1e-3,
      peft: { config: "MissConfig", r: 64, target_modules },
    },
  ],
  fourierft: [
    {
      label: "FourierFT",
      options: { name: "fourierft", targets },
      learningRate: 3e-2,
      peft: { config: "FourierFTConfig", n_frequency: 1000, target_modules },
    },
  ],
  ia3: [
    {
      label: "(IA)³",
      options: { name: "ia3" },
      learningRate: 2e-2,
      peft: {
        config: "IA3Config",
        target_modules: ["k_proj", "v_proj", "down_proj"],
        feedforward_modules: ["down_proj"],
      },
    },
  ],
  "ln-tuning": [
    {
      label: "Norms alone",
      options: { name: "ln-tuning" },
      learningRate: 1e-2,
      peft: {
        config: "LNTuningConfig",
        target_modules: ["input_layernorm", "post_attention_layernorm", "norm"],
      },
    },
  ],
  prompt: [
    {
      label: "Prompt tuning",
      options: { name: "prompt", virtualTokens },
      learningRate: 3e-2,
      peft: {
        config: "PromptTuningConfig",
        num_virtual_tokens: virtualTokens,
        prompt_tuning_init: "SAMPLE_VOCAB",
      },
    },
  ],
  "p-tuning": [
    {
      label: "P-tuning",
      options: { name: "p-tuning", virtualTokens },
      learningRate: 3e-3,
      peft: { config: "PromptEncoderConfig", num_virtual_tokens: virtualTokens },
    },
  ],
  prefix: [
    {
      label: "Prefix tuning",
      options: { name: "prefix", virtualTokens },
      learningRate: 2e-2,
      peft: { config: "PrefixTuningConfig", num_virtual_tokens: virtualTokens },
    },
  ],
  adapter: [
    {
      label: "Bottleneck adapters (Pfeiffer)",
      options: { name: "adapter", preset: "seq_bn" },
      learningRate: 6e-3,
    },
    {
      label: "Bottleneck adapters (Houlsby)",
      options: { name: "adapter", preset: "double_seq_bn" },
      learningRate: 6e-3,
    },
    {
      label: "Parallel adapters",
      options: { name: "adapter", preset: "par_bn" },
      learningRate: 6e-3,
    },
  ],
  unipelt: [{ label: "UniPELT", options: { name: "unipelt" }, learningRate: 2e-3 }],
  "x-lora": "needs adapters that are trained already",
  "adapter-fusion": "needs adapters that are trained already",
  freeze: [
    { label: "The last two blocks", options: { name: "freeze", blocks: 2 }, learningRate: 1e-3 },
  ],
  full: [{ label: "Every weight", options: { name: "full" }, learningRate: 1e-3 }],
  bitfit: "the models that are measured have no biases",
};
