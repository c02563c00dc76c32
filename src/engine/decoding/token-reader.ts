// Reading new tokens of rows that lie side by side in the cache: embedding, layers, output. It knows
// neither which sequences these are nor whether they are prompts.

import type { Value } from "../../runtime/kernel.ts";
import { counts } from "../../runtime/values.ts";
import { createBind } from "../bind.ts";
import { expertCounts } from "../blocks.ts";
import { columnsOf } from "../experts/pieces.ts";
import type { Binding, SharedName, TraceShape } from "../trace.ts";
import type { DecodableModel } from "./decoder-contract.ts";
import { type CompiledHeads, createDecoderHead, type DecoderHead } from "./decoder-head.ts";
import { createExpertRuns } from "./expert-runs.ts";
import type { ImageIds } from "./image-ids.ts";
import type { KeyValueCache } from "./key-value-cache.ts";
import { createLayerKernels, type LayerKernels } from "./layer-kernels.ts";
import type { ScratchMemory } from "./scratch-memory.ts";
import { createTextPositions, type ReadRow } from "./text-positions.ts";
import { createTokenEmbedding } from "./token-embedding.ts";

/** New tokens of rows in neighbouring slots. */
export interface TokenReading {
  /** The slot of the first row. */
  readonly first: number;
  readonly rows: readonly ReadRow[];
  /** New tokens that each row is padded to. */
  readonly sequence: number;
  /** [rows · sequence] */
  readonly ids: readonly number[];
  /** Where several tokens are read by the attention of training, see `createContextReading`. */
  readonly masks?: Partial<Record<SharedName, Value>>;
}

export interface TokenReader {
  /** The states [rows · sequence, hidden] behind the new tokens; overwritten by the next call. */
  read(cache: KeyValueCache, reading: TokenReading): Promise<Value>;
  readonly logits: DecoderHead;
}

/** Kernels of a method, whatever the values of its parameters. */
export interface MethodKernels {
  readonly layers: LayerKernels;
  readonly heads: CompiledHeads;
}

export const createMethodKernels = (model: DecodableModel): MethodKernels => ({
  layers: createLayerKernels(model),
  heads: new Map(),
});

/**
 * @param kernels those of the model's method
 * @param images what ids behind the vocabulary stand for
 */
export function createTokenReader(
  model: DecodableModel,
  scratch: ScratchMemory,
  { layers, heads }: MethodKernels,
  images: ImageIds,
): TokenReader {
  const { groups, kernel: kernelOf } = layers;
  const { architecture, method } = model;
  const { hiddenSize } = architecture.dimensions;
  const bind = createDecodingBind(model);
  const experts = expertCounts(architecture, method);
  const expertRuns = createExpertRuns(model, experts);
  const positions = createTextPositions(model);
  const embed = createTokenEmbedding(model, bind, images);

  return {
    logits: createDecoderHead(model, bind, heads),
    async read(cache, { first, rows, sequence, ids, masks }) {
      const { capacity } = cache;
      const batch = rows.length;
      const trace: TraceShape = {
        batch,
        sequence,
        maskBatch: batch,
        training: false,
        rotaryLength: positions.tableLength(sequence, capacity),
      };
      const shared = { ...positions.inputs(rows, sequence, capacity), ...masks };
      const shape = [batch * sequence, hiddenSize];
      let [x, y] = scratch("states", [shape, shape]) as [Value, Value];
      const kept = rows.map(({ length }) => length);
      await embed(ids, kept, trace, shared.positions!, x);
      /** What is kept of padding is written over by the tokens that follow. */
      const last = (layer: number) =>
        Int32Array.from(kept, (length) => cache.prefixLength(layer) + length + sequence - 1);

      for (const group of groups) {
        const { kernel, feeds } = await kernelOf(group, { trace, capacity });
        const inputs = feeds.map((feed, slot) => {
          switch (feed.kind) {
            case "x":
              return x;
            case "keys":
            case "values":
              return cache.at(feed.layer, first, batch)[feed.kind];
            case "lastPositions":
              return counts(last(feed.layer), [batch]);
            case "total":
              return counts(Int32Array.of(Math.max(...last(feed.layer)) + 1), [1]);
            case "shared":
              return shared[feed.name]!;
            default:
              return bind(feed, slot);
          }
        });
        const written = group.flatMap((layer) => {
          const { keys, values } = cache.at(layer, first, batch);
          return [keys, values];
        });
        const end = group.at(-1)!;
        if (experts[end]! > 0) {
          const { width } = columnsOf(hiddenSize, experts[end]!);
          const [entered] = scratch("entered", [[batch * sequence, width]]) as [Value];
          await kernel.run(inputs, [entered, ...written]);
          await expertRuns(end, trace, entered, y);
        } else await kernel.run(inputs, [y, ...written]);
        [x, y] = [y, x];
      }
      return x;
    },
  };
}

/** Values of inputs that do not follow from the tokens. */
export function createDecodingBind({ weights, parameterSet }: DecodableModel) {
  const bind = createBind(weights, parameterSet);
  return (binding: Binding, slot: number): Value => {
    if (binding.kind === "shared" || binding.kind === "dropout")
      throw new Error(`decoding does not feed ${binding.kind} inputs`);
    return bind(binding, slot, {});
  };
}
