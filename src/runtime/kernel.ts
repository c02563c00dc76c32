// Compiled graphs. A kernel is one ONNX Runtime session; equal graphs share one, so thirty equal
// blocks compile once, and a batch of a shape seen before compiles nothing. One that holds weights
// serves every shape: a session for each would hold them each for itself.

import { availableParallelism } from "node:os";
import * as ort from "onnxruntime-node";
import { TunesmithError } from "../errors.ts";
import { encodeModel, lower, printAnySizes, SIZES } from "../onnx/index.ts";
import { printGraph, type Tensor } from "../tensor/index.ts";
import { disposed } from "./disposed.ts";
import { keepFreedMemory } from "./heap.ts";
import { isStop, STOP, withStop } from "./uncopied-outputs.ts";

/** A value in memory: typed array and shape, handed to ONNX Runtime without a copy. */
export type Value = ort.Tensor;

export interface Kernel {
  /**
   * Computes all outputs.
   * @param inputs one value for each given tensor, in order
   * @param into memory for the outputs, in order; without it, outputs are freshly allocated
   */
  run(inputs: readonly Value[], into?: readonly Value[]): Promise<Value[]>;
}

export interface Runtime {
  /**
   * The kernel that computes `outputs` from `given`; compiled once for every distinct graph.
   * @param held values that are part of the kernel, which may keep them in a form of its own; graphs that
   *   hold the same ones and differ only in sizes are compiled once
   */
  compile(
    outputs: readonly Tensor[],
    given: readonly Tensor[],
    held?: ReadonlyMap<Tensor, Value>,
  ): Promise<Kernel>;
  /** How many kernels have been compiled so far, cached ones included. */
  readonly compiled: number;
  /**
   * Releases all kernels, when those that run are done; again it does nothing. Whoever compiles or runs
   * afterwards is thrown a TunesmithError (run).
   */
  dispose(): Promise<void>;
}

export interface RuntimeOptions {
  /** Threads of a kernel; default: all cores. */
  readonly threads?: number;
  /** Kernels kept; the least recently used one beyond that is released. Default 64. */
  readonly kernelLimit?: number;
}

interface Entry {
  readonly session: Promise<ort.InferenceSession>;
  inUse: number;
}

export function createRuntime(options: RuntimeOptions = {}): Runtime {
  keepFreedMemory();
  const threads = options.threads ?? availableParallelism();
  const limit = options.kernelLimit ?? 64;
  const entries = new Map<string, Entry>(); // insertion order is order of last use
  const running = new Set<Promise<unknown>>();
  let compiled = 0;
  let disposal: Promise<void> | undefined;

  const heldIds = new WeakMap<Value, number>();
  let heldCount = 0;
  const idOf = (value: Value): number => {
    const id = heldIds.get(value) ?? ++heldCount;
    heldIds.set(value, id);
    return id;
  };

  const entryFor = (
    key: string,
    outputs: readonly Tensor[],
    given: readonly Tensor[],
    held: ReadonlyMap<Tensor, Value>,
  ): Entry => {
    if (disposal) throw disposed();
    let entry = entries.get(key);
    if (entry) entries.delete(key);
    else {
      compiled++;
      entry = { session: createSession(outputs, given, held, threads), inUse: 0 };
      // What failed once may be tried again, and leaves nothing to release.
      entry.session.catch(() => entries.delete(key));
    }
    entries.set(key, entry);
    return entry;
  };

  const evict = async () => {
    for (const [key, entry] of entries) {
      if (entries.size <= limit) break;
      if (entry.inUse > 0) continue;
      entries.delete(key);
      await (await entry.session).release();
    }
  };

  const release = async () => {
    await Promise.allSettled(running);
    const sessions = await Promise.allSettled([...entries.values()].map(({ session }) => session));
    entries.clear();
    for (const session of sessions)
      if (session.status === "fulfilled") await session.value.release();
  };

  return {
    get compiled() {
      return compiled;
    },
    async compile(outputs, given, held = new Map()) {
      const holds = [...held.keys()];
      const graph =
        held.size > 0 ? printAnySizes(outputs, given, holds) : printGraph(outputs, given);
      const key = [graph, ...[...held.values()].map(idOf)].join("\n");
      const sizes = held.size > 0 ? lower(outputs, given, holds).sizes : [];
      const fed =
        sizes.length > 0
          ? new ort.Tensor("int64", BigInt64Array.from(sizes, BigInt), [sizes.length])
          : undefined;
      await entryFor(key, outputs, given, held).session;
      await evict();
      return {
        async run(inputs, into) {
          // Looked up again: the kernel may have been evicted since, and is then made anew.
          const entry = entryFor(key, outputs, given, held);
          entry.inUse++;
          const run = entry.session.then((session) =>
            runSession(session, inputs, into, outputs.length, fed),
          );
          running.add(run);
          try {
            return await run;
          } finally {
            running.delete(run);
            entry.inUse--;
          }
        },
      };
    },
    dispose() {
      disposal ??= release();
      return disposal;
    },
  };
}

async function createSession(
  outputs: readonly Tensor[],
  given: readonly Tensor[],
  held: ReadonlyMap<Tensor, Value>,
  threads: number,
): Promise<ort.InferenceSession> {
  return ort.InferenceSession.create(
    encodeModel(withStop(lower(outputs, given, [...held.keys()]))),
    {
      intraOpNumThreads: threads,
      externalData: [...held.values()].map((value, i) => ({
        path: `held${i}`,
        data: bytesIn(value),
      })),
      // Graphs arrive fused: there is nothing to fold.
      graphOptimizationLevel: "disabled",
      // One heap for all kernels, instead of an arena for each that never shrinks.
      enableCpuMemArena: false,
      enableMemPattern: false,
      logSeverityLevel: 3,
      // Every kernel has threads of its own; those of the last one must not spin beside the next.
      extra: { session: { force_spinning_stop: "1" } },
      ...profiling(),
    },
  );
}

function bytesIn({ data }: Value): Uint8Array {
  const { buffer, byteOffset, byteLength } = data as Float32Array<ArrayBuffer>;
  return new Uint8Array(buffer, byteOffset, byteLength);
}

const profiling = () =>
  process.env.TUNESMITH_PROFILE
    ? { enableProfiling: true, profileFilePrefix: process.env.TUNESMITH_PROFILE }
    : {};

async function runSession(
  session: ort.InferenceSession,
  inputs: readonly Value[],
  into: readonly Value[] | undefined,
  outputCount: number,
  sizes: Value | undefined,
): Promise<Value[]> {
  const feeds: Record<string, Value> = sizes ? { [SIZES]: sizes } : {};
  inputs.forEach((value, i) => {
    feeds[`in${i}`] = value;
  });
  const fetches: Record<string, Value | null> = into ? { [STOP]: null } : {};
  for (let i = 0; i < outputCount; i++) fetches[`out${i}`] = into?.[i] ?? null;
  try {
    const results = await session.run(feeds, fetches);
    return Array.from({ length: outputCount }, (_, i) => results[`out${i}`] as Value);
  } catch (cause) {
    if (into && isStop(cause)) return [...into];
    throw explain(cause);
  }
}

function explain(cause: unknown): unknown {
  const message = cause instanceof Error ? cause.message : String(cause);
  if (!/alloc|memory/i.test(message)) return cause;
  return new TunesmithError(
    "run",
    {
      where: "running the model",
      rule: "a step's tensors must fit into memory",
      seen: message.split("\n")[0] ?? message,
      fix: "use train.memory: lean, a smaller batchSize or a smaller maxLength",
    },
    { cause },
  );
}
