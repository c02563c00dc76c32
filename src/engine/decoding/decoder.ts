// Continuing sequences token by token. New tokens go through the layers a few at a time, as one
// kernel for a run of layers; the same code reads a prompt (many positions) and makes an answer (one).
// Weights are fed from where training holds them, and a method's hooks apply as in training.

import type { Reach, Scope } from "../../models/index.ts";
import type { Kernel, Value } from "../../runtime/kernel.ts";
import { floatData, floats, integers } from "../../runtime/values.ts";
import { input, type Shape, sizeOf, type Tensor, topologicalOrder } from "../../tensor/index.ts";
import { createBind } from "../bind.ts";
import { expertCounts } from "../blocks.ts";
import { columnsOf, enterExperts } from "../experts/pieces.ts";
import { checkBatch, rotaryValues } from "../inputs.ts";
import { remember } from "../remember.ts";
import {
  type Binding,
  createTracer,
  REACH_INPUTS,
  REACHES,
  type SharedName,
  type TraceShape,
} from "../trace.ts";
import { cachedAttention, type KeysAndValues } from "./cached-attention.ts";
import type { DecodableModel, Decoder, DecoderOptions } from "./decoder-contract.ts";
import { createDecoderHead } from "./decoder-head.ts";
import { createExpertRuns } from "./expert-runs.ts";
import { createFixedPrefixes, type FixedPrefix } from "./fixed-prefix.ts";
import { cacheMask, createKeyValueCache } from "./key-value-cache.ts";
import { layerGroups } from "./layer-groups.ts";
import { createRereadingDecoder } from "./rereading-decoder.ts";
import { padded, roundedLength } from "./rounded-length.ts";
import { createTokenEmbedding } from "./token-embedding.ts";

export type { DecodableModel, Decoder, DecoderOptions } from "./decoder-contract.ts";

/**
 * A run of layers as a kernel: outputs are y, then new keys and values of each layer. One whose last
 * layer sends rows to experts ends there, and y is what `enterExperts` makes.
 */
interface LayerGroup {
  readonly kernel: Kernel;
  readonly feeds: readonly GroupFeed[];
}

type GroupFeed =
  | { readonly kind: "x" }
  | { readonly kind: "mask"; readonly reach: Reach }
  | { readonly kind: "keys" | "values"; readonly layer: number }
  | { readonly kind: "fixed"; readonly value: Value }
  | Binding;

/** Shapes whose buffers are kept. */
const KEPT_SHAPES = 8;

export function createDecoder(model: DecodableModel, options: DecoderOptions = {}): Decoder {
  if (model.method?.mixesPositions || model.method?.readsFirstPass)
    return createRereadingDecoder(model, options);
  const { architecture, method, weights, parameterSet: parameters, runtime } = model;
  const { batch = 1, capacity = 256, chunk = 512 } = options;
  const { dimensions } = architecture;
  const { layers, hiddenSize, vocabularySize, headSize, keyValueHeads } = dimensions;
  const { rotarySwitch = Number.POSITIVE_INFINITY } = dimensions;
  const cache = createKeyValueCache(dimensions, batch, capacity);
  const experts = expertCounts(architecture, method);
  const expertRuns = createExpertRuns(model, experts);
  const virtualCount = method?.virtualTokens?.count ?? 0;
  const positionOffset = method?.positionOffset ?? 0;

  const kernels = new Map<string, Promise<LayerGroup>>();
  const buffers = new Map<string, Value[]>();
  const rotary = new Map<Reach, ReturnType<typeof rotaryValues>>();
  /** What each row has read, and whether that is beyond the rotary tables' switch. */
  const history = Array.from({ length: batch }, (): number[] => []);
  let isLong = false;

  const groupFor = (group: readonly number[], sequence: number, kept: number) => {
    const key = `${group[0]} ${sequence} ${kept} ${cache.capacity}`;
    let compiled = kernels.get(key);
    if (!compiled) {
      compiled = compileGroup(group, sequence, kept);
      kernels.set(key, compiled);
    }
    return compiled;
  };

  const traceLayer = (layer: number, states: Tensor, scope: Scope) => {
    const attended = architecture.attention(layer, states, scope);
    return experts[layer]! > 0
      ? enterExperts(architecture.sparse(layer)!, attended, scope)
      : (architecture.feedForward?.(layer, attended, scope) ?? attended);
  };

  const compileGroup = async (
    group: readonly number[],
    sequence: number,
    kept: number,
  ): Promise<LayerGroup> => {
    const x = input("x", [batch * sequence, hiddenSize]);
    const feeds = new Map<Tensor, GroupFeed>([[x, { kind: "x" }]]);
    const masks = new Map<Reach, Tensor>();
    const maskOf = (reach: Reach) => {
      const mask = masks.get(reach) ?? input("mask", [batch, 1, sequence, kept + sequence]);
      masks.set(reach, mask);
      feeds.set(mask, { kind: "mask", reach });
      return mask;
    };
    const added: KeysAndValues[] = [];
    const pastOf = (layer: number): KeysAndValues | undefined => {
      if (kept === 0) return undefined;
      const shape = [batch, keyValueHeads, kept, headSize];
      const past = { keys: input("keys", shape), values: input("values", shape) };
      feeds.set(past.keys, { kind: "keys", layer }).set(past.values, { kind: "values", layer });
      return past;
    };
    const fixed: FixedPrefix[] = [];
    const tracer = createTracer(model, shapeOf(sequence), (inputs, _, prefix) => {
      const layer = group[added.length]!;
      const given = prefix && fixPrefix(layer, prefix, tracer.bindings);
      if (given) fixed.push(given);
      const mask = maskOf(inputs.reach ?? "global");
      const attended = cachedAttention(inputs, pastOf(layer), mask, dimensions, given ?? prefix);
      added.push(attended);
      return attended.output;
    });
    const y = group.reduce((states, layer) => traceLayer(layer, states, tracer.scope), x);
    for (const { keys, values, computed } of fixed) {
      const [ofKeys, ofValues] = (await computed) as [Value, Value];
      feeds
        .set(keys, { kind: "fixed", value: ofKeys })
        .set(values, { kind: "fixed", value: ofValues });
    }
    const outputs = [y, ...added.flatMap(({ keys, values }) => [keys, values])];
    const used = new Set(topologicalOrder(outputs, new Set()));
    for (const [tensor, binding] of tracer.bindings)
      if (used.has(tensor)) feeds.set(tensor, binding);
    const kernel = await runtime.compile(outputs, [...feeds.keys()]);
    return { kernel, feeds: [...feeds.values()] };
  };

  /** Memory that is used again whenever the same purpose asks for the same shapes. */
  const buffersFor = (purpose: string, shapes: readonly Shape[]): Value[] => {
    const key = `${purpose} ${shapes.map((shape) => shape.join("x")).join(" ")}`;
    return remember(buffers, key, KEPT_SHAPES, () =>
      shapes.map((shape) => floats(new Float32Array(sizeOf(shape)), shape)),
    );
  };

  const rotaryTables = (length: number, reach: Reach) => {
    let tables = rotary.get(reach);
    if (tables?.cosines.dims[0] !== length) {
      const positions = positionOffset + cache.capacity;
      const used = isLong ? positions : Math.min(positions, rotarySwitch);
      tables = rotaryValues(architecture, used, length, reach);
      rotary.set(reach, tables);
    }
    const { cosines, sines } = REACH_INPUTS[reach];
    return { [cosines]: tables.cosines, [sines]: tables.sines };
  };
  /** The kernel wants a row for every position of a padded prompt, whether or not it is used. */
  const rotaryLength = (sequence: number) => positionOffset + Math.max(cache.capacity, sequence);
  const shapeOf = (sequence: number): TraceShape => ({
    batch,
    sequence,
    maskBatch: batch,
    training: false,
    rotaryLength: rotaryLength(sequence),
  });

  const widened = new Set(
    architecture.weights
      .filter(({ name, role }) => role === "linear" && weights.isWidened(name))
      .map(({ name }) => name),
  );
  /** Products in whole numbers widen nothing; a method that reads a weight itself does. */
  const needsScratch = (layer: number): boolean => {
    if (widened.size === 0) return false;
    const { scope, bindings } = createTracer(model, shapeOf(1));
    traceLayer(layer, input("x", [batch, hiddenSize]), scope);
    return [...bindings.values()].some(
      (binding) => binding.kind === "weight" && widened.has(binding.name),
    );
  };
  const groups = layerGroups({ layers, needsScratch, ends: (layer) => experts[layer]! > 0 });

  /** Reads at most `chunk` new tokens a row; returns the states [batch · sequence, hidden] behind them. */
  const readChunk = async (tokens: readonly (readonly number[])[]) => {
    const counts = tokens.map((row) => row.length);
    const sequence = roundedLength(Math.max(...counts));
    cache.reserve(Math.max(...cache.lengths.map((length, row) => length + counts[row]!)));
    const { lengths } = cache;
    const kept = lengths.some((length) => length > 0) ? cache.capacity : 0;

    const stateShape = [batch * sequence, hiddenSize];
    const maskShape = [batch, 1, sequence, kept + sequence];
    const [first, second, ...ofReach] = buffersFor("states", [
      stateShape,
      stateShape,
      ...REACHES.map(() => maskShape),
    ]) as [Value, Value, ...Value[]];
    // Padding is the token 0 at position 0: it is computed, seen by no real token, and not kept.
    const ids = tokens.flatMap((row) => padded(row, sequence));
    REACHES.forEach((reach, i) => {
      const window = reach === "local" ? dimensions.slidingWindow : undefined;
      cacheMask(lengths, kept, sequence, floatData(ofReach[i]!), window);
    });
    const masks = new Map(REACHES.map((reach, i) => [reach, ofReach[i]!]));
    const positions = new BigInt64Array(batch * sequence);
    counts.forEach((count, row) => {
      for (let t = 0; t < count; t++)
        positions[row * sequence + t] = BigInt(positionOffset + lengths[row]! + t);
    });
    const shared: Partial<Record<SharedName, Value>> = {
      ...Object.assign({}, ...REACHES.map((reach) => rotaryTables(rotaryLength(sequence), reach))),
      positions: integers(positions, [batch, sequence]),
    };

    await embed(ids, lengths, shared.positions!, first);

    let [x, y] = [first, second];
    for (const group of groups) {
      const { kernel, feeds } = await groupFor(group, sequence, kept);
      const addedShape = [batch, keyValueHeads, sequence, headSize];
      const added = buffersFor("added", new Array(2 * group.length).fill(addedShape));
      const inputs = feeds.map((feed, slot) => {
        switch (feed.kind) {
          case "x":
            return x;
          case "mask":
            return masks.get(feed.reach)!;
          case "keys":
          case "values":
            return cache.layer(feed.layer)[feed.kind];
          case "fixed":
            return feed.value;
          case "shared":
            return shared[feed.name]!;
          default:
            return bind(feed, slot);
        }
      });
      const last = group.at(-1)!;
      if (experts[last]! > 0) {
        const { width } = columnsOf(hiddenSize, experts[last]!);
        const [entered] = buffersFor("entered", [[batch * sequence, width]]) as [Value];
        await kernel.run(inputs, [entered, ...added]);
        await expertRuns(last, shapeOf(sequence), entered, y);
      } else await kernel.run(inputs, [y, ...added]);
      group.forEach((layer, i) => {
        cache.store(layer, { keys: added[2 * i]!, values: added[2 * i + 1]! }, counts);
      });
      [x, y] = [y, x];
    }
    cache.advance(counts);
    return { states: floatData(x), sequence };
  };

  const bindAny = createBind(weights, parameters);
  const bind = (binding: Binding, slot: number): Value => {
    if (binding.kind === "shared" || binding.kind === "dropout")
      throw new Error(`decoding does not feed ${binding.kind} inputs`);
    return bindAny(binding, slot, {});
  };
  /** Whether keys that were kept are of other rotary tables than the text's, and so were forgotten. */
  const switched = (): boolean => {
    const longest = Math.max(...history.map((row) => row.length));
    const isBeyond = positionOffset + virtualCount + longest > rotarySwitch;
    if (isBeyond === isLong) return false;
    isLong = isBeyond;
    rotary.clear();
    for (let row = 0; row < batch; row++) cache.truncate(row, 0);
    return true;
  };
  const fixPrefix = createFixedPrefixes(runtime, bind);
  const embed = createTokenEmbedding(model, batch, bind, shapeOf);
  const logitsOf = createDecoderHead(model, batch, bind);

  return {
    batch,
    get lengths() {
      return cache.lengths.map((length) => Math.max(0, length - virtualCount));
    },
    async append(added) {
      for (const row of added) if (row.length > 0) checkBatch({ inputIds: [row] }, vocabularySize);
      added.forEach((row, b) => void history[b]!.push(...row));
      const given = switched() ? history : added;
      // A row's virtual tokens are read before its first real one; their ids say nothing.
      const tokens = given.map((row, b) =>
        row.length > 0 && cache.lengths[b] === 0
          ? [...new Array<number>(virtualCount).fill(0), ...row]
          : row,
      );
      const longest = Math.max(...tokens.map((row) => row.length));
      const [last] = buffersFor("last", [[batch, hiddenSize]]) as [Value];
      for (let start = 0; start < longest; start += chunk) {
        const part = tokens.map((row) => row.slice(start, start + chunk));
        const { states, sequence } = await readChunk(part);
        part.forEach((row, b) => {
          if (row.length === 0) return;
          const from = (b * sequence + row.length - 1) * hiddenSize;
          floatData(last).set(states.subarray(from, from + hiddenSize), b * hiddenSize);
        });
      }
      if (longest === 0) return tokens.map(() => undefined);
      const logits = await logitsOf(last);
      return tokens.map((_, b) =>
        added[b]!.length > 0
          ? logits.subarray(b * vocabularySize, (b + 1) * vocabularySize)
          : undefined,
      );
    },
    truncate(row, length) {
      history[row]!.length = Math.min(history[row]!.length, length);
      cache.truncate(row, virtualCount + length);
    },
  };
}
