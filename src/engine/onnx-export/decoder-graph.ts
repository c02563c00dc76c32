// A whole model as one graph that reads some tokens and continues: ids and a cache in, logits and the longer
// cache out, under the names that Optimum gave them and transformers.js knows. Batch and lengths are open.
// It is traced from the same functions as training.

import { type BoundArchitecture, capped, type Reach } from "../../models/index.ts";
import { type DynamicSize, lower, type OnnxGraph, type OnnxNode } from "../../onnx/index.ts";
import {
  add,
  concat,
  input,
  matmul,
  reshape,
  softmax,
  type Tensor,
  transpose,
} from "../../tensor/index.ts";
import { HIDDEN_SCORE } from "../inputs.ts";
import { type Attend, type Binding, createTracer, REACH_INPUTS } from "../trace.ts";
import type { WeightStore } from "../weights/weights.ts";
import { embeddingNodes } from "./embedding-nodes.ts";
import { maskNodes } from "./mask-nodes.ts";

// Primes, but for the length of the past, which no result has.
const BATCH = 30_011;
const SEQUENCE = 30_013;
const TOTAL = 60_013;

const SIZES: readonly DynamicSize[] = [
  { value: BATCH, name: "batch_size", of: [["input_ids", 0]] },
  { value: SEQUENCE, name: "sequence_length", of: [["input_ids", 1]] },
  { value: TOTAL, name: "total_sequence_length", of: [["attention_mask", 1]] },
  {
    value: BATCH * SEQUENCE,
    name: "rows",
    of: [
      ["input_ids", 0],
      ["input_ids", 1],
    ],
  },
];
const PAST = "past_sequence_length";
const [BATCH_NAME, SEQUENCE_NAME, TOTAL_NAME] = SIZES.map(({ name }) => name) as [
  string,
  string,
  string,
];

/** What a constant of the graph holds. */
export type Held = Extract<Binding, { readonly kind: "weight" | "blocks" }> | RotaryHeld;
export interface RotaryHeld {
  readonly kind: "rotary";
  readonly table: "cosines" | "sines";
  readonly reach: Reach;
}

export interface DecoderGraph {
  readonly graph: OnnxGraph;
  /** By the name of the constant, which has no bytes yet. */
  readonly held: ReadonlyMap<string, Held>;
}

/**
 * @param positions rows of the rotary tables
 * @param blocks of weights that are kept in few bits
 */
export function decoderGraph(
  architecture: BoundArchitecture,
  positions: number,
  { blocks }: Pick<WeightStore, "blocks">,
): DecoderGraph {
  const { dimensions, embeddingName, outputPath, logitShape } = architecture;
  const { layers, hiddenSize, headSize, heads, keyValueHeads, slidingWindow } = dimensions;
  const shape = {
    batch: BATCH,
    sequence: SEQUENCE,
    maskBatch: BATCH,
    training: false,
    rotaryLength: positions,
  };
  const keptShape = [BATCH, keyValueHeads, TOTAL - SEQUENCE, headSize];
  const past = Array.from({ length: layers }, (_, layer) => ({
    keys: input(`past_key_values.${layer}.key`, keptShape),
    values: input(`past_key_values.${layer}.value`, keptShape),
  }));
  const masks: Record<Reach, Tensor> = {
    global: input("mask", [BATCH, 1, SEQUENCE, TOTAL]),
    local: input("localMask", [BATCH, 1, SEQUENCE, TOTAL]),
  };
  const present: Tensor[] = [];
  const attend: Attend = ({ queries, keys, values, scale, scoreCap, reach = "global" }) => {
    const { keys: pastKeys, values: pastValues } = past[present.length / 2]!;
    const perHead = (x: Tensor) =>
      transpose(reshape(x, [BATCH, SEQUENCE, keyValueHeads, headSize]), [0, 2, 1, 3]);
    const k = concat([pastKeys, perHead(keys)], 2);
    const v = concat([pastValues, perHead(values)], 2);
    present.push(k, v);
    const groups = heads / keyValueHeads;
    const split = reshape(queries, [BATCH, SEQUENCE, keyValueHeads, groups, headSize]);
    // Queries of one key-value head lie together, so that keys are not repeated for them.
    const together = [BATCH, keyValueHeads, groups * SEQUENCE, headSize];
    const q = reshape(transpose(split, [0, 2, 3, 1, 4]), together);
    const scores = capped(matmul(q, k, { transposeB: true, scale }), scoreCap);
    const perQuery = reshape(scores, [BATCH, heads, SEQUENCE, TOTAL]);
    const shares = reshape(softmax(add(perQuery, masks[reach])), scores.shape);
    const output = reshape(matmul(shares, v), [BATCH, keyValueHeads, groups, SEQUENCE, headSize]);
    return reshape(transpose(output, [0, 3, 1, 2, 4]), [BATCH * SEQUENCE, heads * headSize]);
  };
  const weights = { blocks, integers: () => undefined };
  const tracer = createTracer({ architecture, method: undefined, weights }, shape, attend);
  const { scope, bindings } = tracer;

  const embedded = input("embedded", [BATCH * SEQUENCE, hiddenSize]);
  let x = architecture.enter?.(embedded, scope) ?? embedded;
  for (let layer = 0; layer < layers; layer++) {
    const attended = architecture.attention(layer, x, scope);
    x = architecture.feedForward?.(layer, attended, scope) ?? attended;
  }
  const products = scope.linear(outputPath, architecture.finalNorm(x, scope));
  const logits = reshape(capped(products, logitShape.cap), [
    BATCH,
    SEQUENCE,
    architecture.logitCount,
  ]);

  const given = new Map<Tensor, string>([
    [embedded, "embedded"],
    [masks.global, "mask"],
    [masks.local, "localMask"],
    ...past.flatMap(({ keys, values }, layer): [Tensor, string][] => [
      [keys, `past_key_values.${layer}.key`],
      [values, `past_key_values.${layer}.value`],
    ]),
  ]);
  const held = new Map<Tensor, readonly [name: string, held: Held]>();
  for (const [tensor, binding] of bindings) {
    if (binding.kind === "weight") held.set(tensor, [binding.name, binding]);
    else if (binding.kind === "blocks")
      held.set(tensor, [`${binding.name}.${binding.part}`, binding]);
    else if (binding.kind === "shared" && binding.name === "positions")
      given.set(tensor, "position_ids");
    else if (binding.kind === "shared") held.set(tensor, [binding.name, rotaryHeld(binding.name)]);
    else throw new Error(`a model alone has no ${binding.kind} inputs`);
  }
  const lowered = lower([logits, ...present], [...given.keys()], [...held.keys()], SIZES);
  const outputs = [
    "logits",
    ...past.flatMap((_, layer) => [`present.${layer}.key`, `present.${layer}.value`]),
  ];
  const names = new Map<string, string>([
    ...[...given.values()].map((name, i) => [`in${i}`, name] as const),
    ...[...held.values()].map(([name], i) => [`held${i}`, name] as const),
    ...outputs.map((name, i) => [`out${i}`, name] as const),
  ]);
  const graph = renamed(lowered, names);

  const isPositioned = [...given.values()].includes("position_ids");
  const ownHeld = new Map<string, Held>(held.values());
  const table = blocks(embeddingName);
  const embedding = embeddingNodes(architecture, table);
  for (const part of Object.keys(table?.parts ?? {}) as ("codes" | "scales" | "offsets")[])
    ownHeld.set(`${embeddingName}.${part}`, { kind: "blocks", name: embeddingName, part });
  if (!table) ownHeld.set(embeddingName, { kind: "weight", name: embeddingName });
  const isLocal = graph.nodes.some(({ inputs }) => inputs.includes("localMask"));
  const mask = maskNodes(isLocal ? slidingWindow : undefined, HIDDEN_SCORE);
  const inner = new Map(graph.constants.map((constant) => [constant.name, constant]));
  for (const constant of [...embedding.constants, ...mask.constants])
    inner.set(constant.name, constant);
  const cache = [BATCH_NAME, keyValueHeads, PAST, headSize];
  const longer = [BATCH_NAME, keyValueHeads, TOTAL_NAME, headSize];
  const ids = { type: "int64", shape: [BATCH_NAME, SEQUENCE_NAME] } as const;
  return {
    held: ownHeld,
    graph: {
      nodes: [...embedding.nodes, ...mask.nodes, ...graph.nodes],
      constants: [...inner.values()],
      inputs: [
        { name: "input_ids", ...ids },
        { name: "attention_mask", type: "int64", shape: [BATCH_NAME, TOTAL_NAME] },
        ...(isPositioned ? [{ name: "position_ids", ...ids }] : []),
        ...graph.inputs
          .filter(({ name }) => name.startsWith("past_key_values."))
          .map((each) => ({ ...each, shape: cache })),
      ],
      outputs: graph.outputs.map(({ name, type }) => ({
        name,
        type,
        shape: name === "logits" ? [BATCH_NAME, SEQUENCE_NAME, architecture.logitCount] : longer,
      })),
    },
  };
}

function rotaryHeld(name: string): RotaryHeld {
  for (const reach of ["global", "local"] as const)
    for (const table of ["cosines", "sines"] as const)
      if (REACH_INPUTS[reach][table] === name) return { kind: "rotary", table, reach };
  throw new Error(`a model alone does not read ${name}`);
}

/** The graph under other names, where there are any. */
function renamed(graph: OnnxGraph, names: ReadonlyMap<string, string>): OnnxGraph {
  const name = (old: string) => names.get(old) ?? old;
  const renamedNode = (node: OnnxNode) => ({
    ...node,
    inputs: node.inputs.map(name),
    outputs: node.outputs.map(name),
  });
  const each = <Value extends { readonly name: string }>(values: readonly Value[]) =>
    values.map((value) => ({ ...value, name: name(value.name) }));
  return {
    nodes: graph.nodes.map(renamedNode),
    constants: each(graph.constants),
    inputs: each(graph.inputs),
    outputs: each(graph.outputs),
  };
}
