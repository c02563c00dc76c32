// What a method decides by a look at data, before it is bound for good: a network of the frozen model
// shows it what the layers read, batch by batch, until it has seen enough. A run that goes on takes
// what was decided from its checkpoint.

import { TunesmithError } from "../errors.ts";
import { readAdapter } from "../hub/index.ts";
import {
  type BoundMethod,
  bindMethod,
  type DataProbe,
  type Decision,
  type MethodOptions,
  type ModelDescription,
  methodDefinition,
  pathOfImages,
  withoutTexts,
} from "../methods/index.ts";
import type { BoundArchitecture } from "../models/index.ts";
import type { Runtime } from "../runtime/kernel.ts";
import { floatData } from "../runtime/values.ts";
import type { Tensor } from "../tensor/index.ts";
import { adapterValues } from "./adapters/bind-adapter.ts";
import { type Batch, IGNORED_LABEL } from "./batch.ts";
import { kernelProducts } from "./matrix-products.ts";
import { createNetwork } from "./network.ts";
import { createParameters } from "./parameters.ts";
import { gatherRows } from "./rows.ts";
import type { WeightStore } from "./weights/weights.ts";

/** How far a look at data is. */
export interface LookProgress {
  readonly batches: number;
  /** Modules that have shown enough, of so many. */
  readonly settled: number;
  readonly modules: number;
}

export interface StartingData {
  /** The batches of one pass over the data; passes are counted from 0. */
  readonly batches: (pass: number) => AsyncIterable<Batch> | Iterable<Batch>;
  readonly onProgress?: (progress: LookProgress) => void;
}

/** Where a method that data decide about takes the decision from. */
export interface DecisionSources {
  readonly data?: StartingData;
  /** Folder of an adapter that was saved since: its decision, and its values. */
  readonly decidedBy?: string;
  /** Aborting ends the look at data with the signal's reason. */
  readonly signal?: AbortSignal | undefined;
}

export interface Decided {
  readonly method: BoundMethod;
  /** First values by key. */
  readonly values: ReadonlyMap<string, Float32Array>;
}

export interface FrozenParts {
  readonly architecture: BoundArchitecture;
  readonly weights: WeightStore;
  readonly runtime: Runtime;
}

/**
 * The look that options ask for; undefined where they need none.
 * @throws TunesmithError (config) where they need one and there is nothing to look at, or where what images
 *   go through is to be looked at
 */
export function probeFor(
  options: MethodOptions,
  model: ModelDescription,
  { data, decidedBy }: DecisionSources,
  runtime: Runtime,
): DataProbe | undefined {
  const products = kernelProducts(runtime);
  const probe = methodDefinition(options.name).fromData?.probe(options, model, products);
  if (probe && !data && decidedBy === undefined)
    throw new TunesmithError("config", {
      where: "method.init",
      rule: "an initialisation that looks at data has data to look at",
      seen: "none",
      fix: "pass batches (loadModel's `data`), train by a recipe, or use init: true",
    });
  const looking = probe && pathOfImages(probe.modules, model);
  if (looking !== undefined)
    throw new TunesmithError("config", withoutTexts(`${options.name}, init: eva`, looking));
  return probe;
}

/** @throws TunesmithError (config, data) where the data do not lead to a decision */
export async function decide(
  options: MethodOptions,
  probe: DataProbe,
  model: ModelDescription,
  { data, decidedBy, signal }: DecisionSources,
  parts: FrozenParts,
): Promise<Decided> {
  const bind = (decided: object) => bindMethod({ ...options, ...decided } as MethodOptions, model);
  if (decidedBy !== undefined) {
    const adapter = await readAdapter(decidedBy);
    const method = bind(
      methodDefinition(options.name).fromData!.decided(adapter.config, decidedBy),
    );
    return { method, values: adapterValues(adapter, method, decidedBy, parts.architecture) };
  }
  const { options: decided, values } = await look(probe, data!, parts, signal);
  return { method: bind(decided), values };
}

async function look(
  probe: DataProbe,
  { batches, onProgress }: StartingData,
  parts: FrozenParts,
  signal: AbortSignal | undefined,
): Promise<Decision> {
  const none = await createParameters([], () => Promise.reject());
  const { method, readers } = reporter(probe);
  const network = createNetwork({ ...parts, method, parameters: none, memory: "lean" });
  let seen = 0;
  for (let pass = 0; ; pass++) {
    signal?.throwIfAborted();
    const before = seen;
    for await (const batch of batches(pass)) {
      signal?.throwIfAborted();
      const positions = countingPositions(batch, probe.onlyLabelled);
      await network.report(batch, async (path, value) => {
        const columns = value.dims[1]!;
        const rows = positions.length;
        let data = floatData(value);
        if (rows < value.dims[0]!) {
          data = new Float32Array(rows * columns);
          gatherRows(floatData(value), positions, columns, data);
        }
        await probe.see(readers(path), { data, rows, columns });
      });
      const { settled, modules } = probe.settle();
      seen++;
      onProgress?.({ batches: seen, settled, modules });
      if (settled === modules) return probe.decide();
    }
    probe.endPass();
    if (seen === before) throw usedUp(pass);
  }
}

const usedUp = (pass: number) =>
  new TunesmithError("data", {
    where: "method.init: the data it looks at",
    rule: "can be gone through again, until every layer has shown enough",
    seen: `no batch in pass ${pass + 1}`,
    fix: "pass what starts anew whenever it is gone through, such as an array, and no generator",
  });

/** A method that changes nothing and reports each input once, under the path of its first reader. */
function reporter({ modules }: DataProbe) {
  const first = new WeakMap<Tensor, string>();
  const readers = new Map<string, string[]>();
  const method: BoundMethod = {
    name: "look",
    parameters: [],
    replaces: new Map(),
    readsWholeRows: true,
    linear(path, x, base, scope) {
      if (!modules.has(path)) return base(x);
      const known = first.get(x);
      if (known === undefined) {
        first.set(x, path);
        readers.set(path, [path]);
        scope.statistic(path, x);
      } else readers.set(known, [...readers.get(known)!, path]);
      return base(x);
    },
    saved: "checkpoint",
  };
  return { method, readers: (path: string) => readers.get(path)! };
}

/** Rows [batch · seq] that are no padding and, where that is asked for, have a label of their own. */
function countingPositions(batch: Batch, onlyLabelled: boolean): number[] {
  const { inputIds, attentionMask, segmentIds } = batch;
  const present = (attentionMask ?? segmentIds)?.flat();
  const labels = onlyLabelled ? batch.labels?.flat() : undefined;
  return [...inputIds.flat().keys()].filter(
    (row) => present?.[row] !== 0 && labels?.[row] !== IGNORED_LABEL,
  );
}
