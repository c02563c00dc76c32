// What a model takes that no one machine here holds, from its config.json alone: parameters, weights, and what
// training it takes of each of several devices that share all state (ZeRO stage 3, Rajbhandari et al. 2020).
// Numbers and formulas, nothing measured: tunesmith itself trains in one process.

import { join } from "node:path";
import { TunesmithError } from "../errors.ts";
import { quantizedBytes, readJsonObject } from "../hub/index.ts";
import {
  bindMethod,
  countParameters,
  type MethodOptions,
  modelDescription,
} from "../methods/index.ts";
import { architectureFor, type BoundArchitecture, type WeightSpec } from "../models/index.ts";
import { sizeOf } from "../tensor/index.ts";
import type { MemoryTerm } from "./estimate.ts";
import { NF4 } from "./weight-bytes.ts";

export interface ScaleOptions {
  /** Devices that share weights, gradients and optimizer state. Default 8. */
  readonly devices?: number;
  /** Bytes that each of them has. Default 80e9. */
  readonly deviceBytes?: number;
  /** Rows that each of them reads at a time. Default 1. */
  readonly rows?: number;
  /** Tokens of a row. Default: the model's context, at most 2048. */
  readonly tokens?: number;
}

export interface Scale {
  readonly parameters: {
    readonly total: number;
    /** Of one block, the first. */
    readonly block: number;
    readonly blocks: number;
    readonly embedding: number;
  };
  /** Bytes of all weights, by how they are kept. */
  readonly weights: readonly MemoryTerm[];
  /** Bytes that a backward pass reads of the forward one, by batch and length. */
  readonly activations: readonly {
    readonly rows: number;
    readonly tokens: number;
    /** Where every block is computed again: its input alone is kept. */
    readonly kept: number;
    /** The block that is being computed again. */
    readonly atWork: number;
  }[];
  readonly setting: Required<ScaleOptions>;
  readonly methods: readonly ShardedTraining[];
}

/** Training on one of the devices. */
export interface ShardedTraining {
  readonly name: string;
  readonly trainable: number;
  /** Bytes of the optimizer's state on all devices together: master weights and Adam's two moments. */
  readonly optimizerBytes: number;
  readonly terms: readonly MemoryTerm[];
  readonly bytes: number;
  /** What is left of a device; below 0, it does not fit. */
  readonly left: number;
}

const HALF = 2;
const FLOAT = 4;
/** Rajbhandari et al., section 3.1: a weight in 32 bits, and two moments of it. */
const OPTIMIZER = 3 * FLOAT;
const INT8 = { type: "int8" } as const;

const METHODS: readonly (readonly [name: string, MethodOptions, weights: "half" | "nf4"])[] = [
  ["full fine-tuning", { name: "full" }, "half"],
  ["LoRA, rank 8", { name: "lora", rank: 8 }, "half"],
  ["QLoRA, rank 8", { name: "qlora", rank: 8, targets: "all-linear" }, "nf4"],
];
const ROWS = [1, 4];
const LENGTHS = [512, 2048];

/**
 * Computes what a model takes.
 * @param folder one with config.json; weights need not be there
 * @throws TunesmithError (checkpoint) for a folder without config.json or of an unknown architecture,
 *   (config) for options out of range
 */
export async function scaleModel(folder: string, options: ScaleOptions = {}): Promise<Scale> {
  const config = await readJsonObject(join(folder, "config.json"));
  if (!config) throw noConfig(folder);
  const architecture = architectureFor(config, join(folder, "config.json"));
  const { weights, dimensions, blocks } = architecture;
  const setting = {
    devices: 8,
    deviceBytes: 80e9,
    rows: 1,
    tokens: Math.min(2048, dimensions.maximumPositions),
    ...options,
  };
  checkSetting(setting);
  const inFirst = weights.filter(({ name }) => name.startsWith(`${blocks[0]!.block}.`));
  const description = modelDescription(architecture, String(config.model_type), folder);
  const bytes = weightBytes(weights);
  return {
    parameters: {
      total: count(weights),
      block: count(inFirst),
      blocks: dimensions.layers,
      embedding: count(weights.filter(({ role }) => role === "embedding" || role === "positions")),
    },
    weights: Object.entries(bytes).map(([name, of]) => ({ name, bytes: of })),
    activations: ROWS.flatMap((rows) =>
      LENGTHS.filter((tokens) => tokens <= dimensions.maximumPositions).map((tokens) => ({
        rows,
        tokens,
        ...activationsOf(architecture, rows, tokens),
      })),
    ),
    setting,
    methods: METHODS.map(([name, method, kept]) => {
      const { trained } = countParameters(bindMethod(method, description));
      const frozen = method.name === "full" ? 0 : bytes[kept === "half" ? "16-bit" : "nf4"];
      const part = { name, trainable: trained, frozenBytes: frozen, block: count(inFirst) };
      return onDevice(architecture, part, setting);
    }),
  };
}

const count = (specs: readonly WeightSpec[]) =>
  specs.reduce((sum, { shape }) => sum + sizeOf(shape), 0);

/** Matrices of blocks are quantised, all else stays 16-bit, as bitsandbytes has it. */
function weightBytes(weights: readonly WeightSpec[]) {
  const quantized = (options: typeof NF4 | typeof INT8) =>
    weights.reduce((sum, { role, shape }) => {
      const isSmall = role === "linear";
      return sum + (isSmall ? quantizedBytes(shape, options) : sizeOf(shape) * HALF);
    }, 0);
  const total = count(weights);
  return {
    float32: total * FLOAT,
    "16-bit": total * HALF,
    int8: quantized(INT8),
    nf4: quantized(NF4),
  };
}

/**
 * Bytes of activations in 16 bits where each block is computed again (Chen et al. 2016): its input is kept, and
 * while it is at work its linear modules' outputs, its norms' and its scores, twice: with their gradients.
 */
function activationsOf({ dimensions, weights }: BoundArchitecture, rows: number, tokens: number) {
  const { layers, hiddenSize, heads } = dimensions;
  const positions = rows * tokens;
  const outputs = weights.reduce(
    (sum, { role, shape, share = 1 }) => (role === "linear" ? sum + share * shape[0]! : sum),
    0,
  );
  const scores = rows * heads * tokens * tokens;
  return {
    kept: positions * hiddenSize * layers * HALF,
    atWork: 2 * (positions * (outputs / layers + 2 * hiddenSize) + scores) * HALF,
  };
}

interface Trained {
  readonly name: string;
  readonly trainable: number;
  /** Of weights that are not trained, on all devices together. */
  readonly frozenBytes: number;
  /** Parameters of a block. */
  readonly block: number;
}

/**
 * Stage 3: of weights (2 bytes each), gradients (2) and optimizer state (12) a device has an equal part, and
 * of the block at work all weights, gathered.
 */
function onDevice(
  architecture: BoundArchitecture,
  { name, trainable, frozenBytes, block }: Trained,
  { devices, deviceBytes, rows, tokens }: Required<ScaleOptions>,
): ShardedTraining {
  const { kept, atWork } = activationsOf(architecture, rows, tokens);
  const terms: MemoryTerm[] = [
    { name: "weights", bytes: (frozenBytes + trainable * HALF) / devices },
    { name: "gradients", bytes: (trainable * HALF) / devices },
    { name: "optimizer", bytes: (trainable * OPTIMIZER) / devices },
    { name: "a block's weights, gathered", bytes: block * HALF },
    { name: "inputs of blocks", bytes: kept },
    { name: "one block at work", bytes: atWork },
    // In 32 bits, with their gradient.
    { name: "logits", bytes: 2 * rows * tokens * architecture.logitCount * FLOAT },
  ];
  const bytes = terms.reduce((sum, term) => sum + term.bytes, 0);
  const optimizerBytes = trainable * OPTIMIZER;
  return { name, trainable, optimizerBytes, terms, bytes, left: deviceBytes - bytes };
}

function checkSetting(setting: Required<ScaleOptions>): void {
  const faults = Object.entries(setting)
    .filter(([, value]) => !(Number.isInteger(value) && value > 0))
    .map(([name, value]) => ({
      where: `models scale: ${name}`,
      rule: "is a whole number above 0",
      seen: String(value),
      fix: "correct it",
    }));
  if (faults.length > 0) throw new TunesmithError("config", faults);
}

const noConfig = (folder: string) =>
  new TunesmithError("checkpoint", {
    where: folder,
    rule: "a model's scale is computed from its config.json",
    seen: "no config.json in it",
    fix: "name a folder that holds one; weights are not needed",
  });
