// Continuing sequences token by token. New tokens go through the layers a few at a time, as one
// kernel for a run of layers; the same code reads a prompt (many positions) and makes an answer (one).
// Weights are fed from where training holds them, and a method's hooks apply as in training.

import { TunesmithError } from "../../errors.ts";
import type { Reach, Scope } from "../../models/index.ts";
import type { Kernel, Value } from "../../runtime/kernel.ts";
import { counts, floatData, floats, integers } from "../../runtime/values.ts";
import { input, type Shape, sizeOf, type Tensor, topologicalOrder } from "../../tensor/index.ts";
import { createBind } from "../bind.ts";
import { expertCounts } from "../blocks.ts";
import { columnsOf, enterExperts } from "../experts/pieces.ts";
import { heldBy } from "../held-weights.ts";
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
import { attendCached, attendedRows, type CachedRows, cachedHeadSize } from "./cached-attention.ts";
import type { DecodableModel, Decoder, DecoderOptions } from "./decoder-contract.ts";
import { createDecoderHead } from "./decoder-head.ts";
import { createExpertRuns } from "./expert-runs.ts";
import { computePrefixes } from "./fixed-prefix.ts";
import { createImageIds } from "./image-ids.ts";
import { createKeyValueCache, type KeyValueCache } from "./key-value-cache.ts";
import { layerGroups } from "./layer-groups.ts";
import { createRereadingDecoder } from "./rereading-decoder.ts";
import { padded, roundedLength } from "./rounded-length.ts";
import { createTokenEmbedding } from "./token-embedding.ts";

export type { DecodableModel, Decoder, DecoderOptions } from "./decoder-contract.ts";

/**
 * A run of layers as a kernel: outputs are y, then each layer's keys and values, written where they
 * lie. One whose last layer sends rows to experts ends there, and y is what `enterExperts` makes.
 */
interface LayerGroup {
  readonly kernel: Kernel;
  readonly feeds: readonly GroupFeed[];
}

type GroupFeed =
  | { readonly kind: "x" }
  | {
      readonly kind: "keys" | "values" | "lastPositions" | "total";
      readonly layer: number;
      readonly rows: CachedRows;
    }
  | Binding;

/** Shapes whose buffers are kept. */
const KEPT_SHAPES = 8;

/** @throws TunesmithError (config) for a classifier, which has no next token */
export function createDecoder(model: DecodableModel, options: DecoderOptions = {}): Decoder {
  if (model.architecture.classifier) throw saysNoTokens(model.architecture.classifier.labels);
  if (model.method?.mixesPositions || model.method?.readsFirstPass || options.seesContext)
    return createRereadingDecoder(model, options);
  const { architecture, method, weights, parameterSet: parameters, runtime } = model;
  const { batch = 1, capacity = 256, chunk = 512 } = options;
  const { dimensions } = architecture;
  const { layers, hiddenSize, vocabularySize, headSize, keyValueHeads } = dimensions;
  const { rotarySwitch = Number.POSITIVE_INFINITY } = dimensions;
  const experts = expertCounts(architecture, method);
  const expertRuns = createExpertRuns(model, experts);
  const virtualCount = method?.virtualTokens?.count ?? 0;
  const positionOffset = method?.positionOffset ?? 0;

  const kernels = new Map<string, Promise<LayerGroup>>();
  const buffers = new Map<string, Value[]>();
  const rotary = new Map<Reach, ReturnType<typeof rotaryValues>>();
  let opened: KeyValueCache | undefined;
  const openCache = async () => {
    opened ??= createKeyValueCache(dimensions, batch, capacity, await computePrefixes(model, bind));
    return opened;
  };
  /** What each row has read, and whether that is beyond the rotary tables' switch. */
  const history = Array.from({ length: batch }, (): number[] => []);
  let isLong = false;

  const groupFor = (group: readonly number[], sequence: number, cache: KeyValueCache) => {
    const key = `${group[0]} ${sequence} ${cache.capacity}`;
    let compiled = kernels.get(key);
    if (!compiled) {
      compiled = compileGroup(group, sequence, cache);
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
    cache: KeyValueCache,
  ): Promise<LayerGroup> => {
    const x = input("x", [batch * sequence, hiddenSize]);
    const feeds = new Map<Tensor, GroupFeed>([[x, { kind: "x" }]]);
    const fed = (feed: GroupFeed, shape: Shape, dtype?: Tensor["dtype"]) => {
      const tensor = input(feed.kind, shape, dtype);
      feeds.set(tensor, feed);
      return tensor;
    };
    const written: Tensor[] = [];
    let attended = 0;
    const tracer = createTracer(model, shapeOf(sequence, cache), (given) => {
      const layer = group[attended++]!;
      const cached = attendCached(given, { batch, sequence }, dimensions, (rows) => {
        const count = rows === "all" ? batch : 1;
        const kept = [count, keyValueHeads, cache.capacity, cachedHeadSize(headSize)];
        return {
          keptKeys: fed({ kind: "keys", layer, rows }, kept),
          keptValues: fed({ kind: "values", layer, rows }, kept),
          lastPositions: fed({ kind: "lastPositions", layer, rows }, [count], "int32"),
          total: fed({ kind: "total", layer, rows }, [1], "int32"),
        };
      });
      written.push(...cached.written);
      return cached.output;
    });
    const y = group.reduce((states, layer) => traceLayer(layer, states, tracer.scope), x);
    const outputs = [y, ...written];
    const used = new Set(topologicalOrder(outputs, new Set()));
    for (const [tensor, binding] of tracer.bindings)
      if (used.has(tensor)) feeds.set(tensor, binding);
    const held = heldBy(feeds, weights);
    const kernel = await runtime.compile(outputs, [...feeds.keys()], held);
    return { kernel, feeds: [...feeds.values()] };
  };

  /** Memory that is used again whenever the same purpose asks for the same shapes. */
  const buffersFor = (purpose: string, shapes: readonly Shape[]): Value[] => {
    const key = `${purpose} ${shapes.map((shape) => shape.join("x")).join(" ")}`;
    return remember(buffers, key, KEPT_SHAPES, () =>
      shapes.map((shape) => floats(new Float32Array(sizeOf(shape)), shape)),
    );
  };

  const rotaryTables = (length: number, reach: Reach, positions: number) => {
    let tables = rotary.get(reach);
    if (tables?.cosines.dims[0] !== length) {
      const used = isLong ? positions : Math.min(positions, rotarySwitch);
      tables = rotaryValues(architecture, used, length, reach);
      rotary.set(reach, tables);
    }
    const { cosines, sines } = REACH_INPUTS[reach];
    return { [cosines]: tables.cosines, [sines]: tables.sines };
  };
  /** The kernel wants a row for every position of a padded prompt, whether or not it is used. */
  const rotaryLength = (sequence: number, { capacity: positions }: { capacity: number }) =>
    positionOffset + Math.max(positions, sequence);
  const shapeOf = (sequence: number, cache: { capacity: number }): TraceShape => ({
    batch,
    sequence,
    maskBatch: batch,
    training: false,
    rotaryLength: rotaryLength(sequence, cache),
  });

  const widened = new Set(
    architecture.weights
      .filter(({ name, role }) => role === "linear" && weights.isWidened(name))
      .map(({ name }) => name),
  );
  /** Products in whole numbers widen nothing; a method that reads a weight itself does. */
  const needsScratch = (layer: number): boolean => {
    if (widened.size === 0) return false;
    const { scope, bindings } = createTracer(model, shapeOf(1, { capacity }));
    traceLayer(layer, input("x", [batch, hiddenSize]), scope);
    return [...bindings.values()].some(
      (binding) => binding.kind === "weight" && widened.has(binding.name),
    );
  };
  const groups = layerGroups({ layers, needsScratch, ends: (layer) => experts[layer]! > 0 });

  /** Reads at most `chunk` new tokens a row; returns the states [batch · sequence, hidden] behind them. */
  const readChunk = async (cache: KeyValueCache, tokens: readonly (readonly number[])[]) => {
    const fresh = tokens.map((row) => row.length);
    const sequence = roundedLength(Math.max(...fresh));
    const { lengths } = cache;
    // Padding is the token 0 at position 0: it is seen by no real token, and what is kept of it is
    // written over by the tokens that follow.
    cache.reserve(Math.max(...lengths) + sequence);

    const stateShape = [batch * sequence, hiddenSize];
    const [first, second] = buffersFor("states", [stateShape, stateShape]) as [Value, Value];
    const ids = tokens.flatMap((row) => padded(row, sequence));
    const positions = new BigInt64Array(batch * sequence);
    fresh.forEach((count, row) => {
      for (let t = 0; t < count; t++)
        positions[row * sequence + t] = BigInt(positionOffset + lengths[row]! + t);
    });
    const tableRows = rotaryLength(sequence, cache);
    const shared: Partial<Record<SharedName, Value>> = {
      ...Object.assign(
        {},
        ...REACHES.map((reach) => rotaryTables(tableRows, reach, positionOffset + cache.capacity)),
      ),
      positions: integers(positions, [batch, sequence]),
    };
    await embed(ids, lengths, shared.positions!, first);
    const lastPositions = (layer: number, rows: CachedRows) =>
      Int32Array.from(
        rows === "all" ? lengths : [lengths[rows]!],
        (length) => cache.prefixLength(layer) + length + sequence - 1,
      );

    let [x, y] = [first, second];
    for (const group of groups) {
      const { kernel, feeds } = await groupFor(group, sequence, cache);
      const inputs = feeds.map((feed, slot) => {
        switch (feed.kind) {
          case "x":
            return x;
          case "keys":
          case "values":
            return cache.rows(feed.layer, feed.rows)[feed.kind];
          case "lastPositions": {
            const last = lastPositions(feed.layer, feed.rows);
            return counts(last, [last.length]);
          }
          case "total": {
            const last = lastPositions(feed.layer, feed.rows);
            return counts(Int32Array.of(Math.max(...last) + 1), [1]);
          }
          case "shared":
            return shared[feed.name]!;
          default:
            return bind(feed, slot);
        }
      });
      const written = group.flatMap((layer) =>
        attendedRows(batch, sequence).flatMap((rows) => {
          const { keys, values } = cache.rows(layer, rows);
          return [keys, values];
        }),
      );
      const last = group.at(-1)!;
      if (experts[last]! > 0) {
        const { width } = columnsOf(hiddenSize, experts[last]!);
        const [entered] = buffersFor("entered", [[batch * sequence, width]]) as [Value];
        await kernel.run(inputs, [entered, ...written]);
        await expertRuns(last, shapeOf(sequence, cache), entered, y);
      } else await kernel.run(inputs, [y, ...written]);
      [x, y] = [y, x];
    }
    cache.advance(fresh);
    return { states: floatData(x), sequence };
  };

  const bindAny = createBind(weights, parameters);
  const bind = (binding: Binding, slot: number): Value => {
    if (binding.kind === "shared" || binding.kind === "dropout")
      throw new Error(`decoding does not feed ${binding.kind} inputs`);
    return bindAny(binding, slot, {});
  };
  /** Whether keys that were kept are of other rotary tables than the text's, and so were forgotten. */
  const switched = (cache: KeyValueCache): boolean => {
    const longest = Math.max(...history.map((row) => row.length));
    const isBeyond = positionOffset + virtualCount + longest > rotarySwitch;
    if (isBeyond === isLong) return false;
    isLong = isBeyond;
    rotary.clear();
    for (let row = 0; row < batch; row++) cache.truncate(row, 0);
    return true;
  };
  const images = createImageIds(architecture);
  const embed = createTokenEmbedding(
    model,
    batch,
    bind,
    (sequence) => shapeOf(sequence, { capacity }),
    images,
  );
  const logitsOf = createDecoderHead(model, batch, bind);

  return {
    batch,
    get lengths() {
      const kept = opened?.lengths ?? new Array<number>(batch).fill(0);
      return kept.map((length) => Math.max(0, length - virtualCount));
    },
    async append(tokens, states = []) {
      for (const row of tokens) if (row.length > 0) checkBatch({ inputIds: [row] }, vocabularySize);
      const added = tokens.map((row, b) => images.named(row, states[b]));
      const cache = await openCache();
      added.forEach((row, b) => void history[b]!.push(...row));
      const given = switched(cache) ? history : added;
      // A row's virtual tokens are read before its first real one; their ids say nothing.
      const rows = given.map((row, b) =>
        row.length > 0 && cache.lengths[b] === 0
          ? [...new Array<number>(virtualCount).fill(0), ...row]
          : row,
      );
      const longest = Math.max(...rows.map((row) => row.length));
      const [last] = buffersFor("last", [[batch, hiddenSize]]) as [Value];
      for (let start = 0; start < longest; start += chunk) {
        const part = rows.map((row) => row.slice(start, start + chunk));
        const { states, sequence } = await readChunk(cache, part);
        part.forEach((row, b) => {
          if (row.length === 0) return;
          const from = (b * sequence + row.length - 1) * hiddenSize;
          floatData(last).set(states.subarray(from, from + hiddenSize), b * hiddenSize);
        });
      }
      if (longest === 0) return rows.map(() => undefined);
      const logits = await logitsOf(last);
      return rows.map((_, b) =>
        added[b]!.length > 0
          ? logits.subarray(b * vocabularySize, (b + 1) * vocabularySize)
          : undefined,
      );
    },
    truncate(row, length) {
      history[row]!.length = Math.min(history[row]!.length, length);
      images.keep(history);
      opened?.truncate(row, virtualCount + length);
    },
  };
}

const saysNoTokens = (labels: readonly string[]) =>
  new TunesmithError("config", {
    where: "model",
    rule: "a text is continued by a model with an output for every token",
    seen: `a classifier of ${labels.join(", ")}`,
    fix: "ask it with `tunesmith classify` or `model.classify`",
  });
