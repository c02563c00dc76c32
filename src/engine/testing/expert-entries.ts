// The entries of methods that change experts, for models that have them: which of them a method reaches, and
// that routers and experts can be trained alone.

import { type MethodEntry, NORMS_ARE_CONSTANT } from "./method-entries.ts";

/** Methods that change experts, and what stands around them. */
export const ON_EXPERTS: readonly MethodEntry[] = [
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
