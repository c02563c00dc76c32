// The states of new tokens in front of the first layer: rows of the table, a method's virtual tokens,
// what a method does to both, and what the architecture does before its blocks.

import type { Value } from "../../runtime/kernel.ts";
import { floatData, floats, integers } from "../../runtime/values.ts";
import { input, type Shape, type Tensor } from "../../tensor/index.ts";
import { embedTokens } from "../embedding.ts";
import { blockEntry } from "../enter-blocks.ts";
import {
  type Binding,
  createTracer,
  type SharedName,
  type Tracer,
  type TraceShape,
} from "../trace.ts";
import type { DecodableModel } from "./decoder-contract.ts";
import type { ImageIds } from "./image-ids.ts";

/**
 * Embeds [batch · sequence] tokens that follow the `lengths` kept ones, into the target of so many
 * rows; the first of a row are virtual ones. Ids may be those of image rows.
 * @param positions [batch, sequence]
 */
export type TokenEmbedding = (
  ids: readonly number[],
  lengths: readonly number[],
  shape: TraceShape,
  positions: Value,
  target: Value,
) => Promise<void>;

export function createTokenEmbedding(
  model: DecodableModel,
  bind: (binding: Binding, slot: number) => Value,
  images: ImageIds,
): TokenEmbedding {
  const { architecture, method, weights, parameterSet: parameters, runtime } = model;
  const { hiddenSize } = architecture.dimensions;
  const embedding = method?.replaces.get(architecture.embeddingName);
  const virtualCount = method?.virtualTokens?.count ?? 0;

  /** Compiles one of the steps; `xShape` is its input's. */
  const compileHook = async (
    shape: TraceShape,
    xShape: Shape,
    hook: (x: Tensor, tracer: Tracer) => Tensor,
  ) => {
    const tracer = createTracer(model, shape);
    const x = input("x", xShape);
    const result = hook(x, tracer);
    const feeds = new Map<Tensor, Binding | { readonly kind: "x" }>([
      [x, { kind: "x" }],
      ...tracer.bindings,
    ]);
    const kernel = await runtime.compile([result], [...feeds.keys()]);
    return (x: Value, shared: Partial<Record<SharedName, Value>>) => {
      const inputs = [...feeds.values()].map((feed, slot) => {
        if (feed.kind === "x") return x;
        return feed.kind === "shared" ? shared[feed.name]! : bind(feed, slot);
      });
      return kernel.run(inputs).then(([value]) => floatData(value!));
    };
  };
  type Hook = ReturnType<typeof compileHook>;
  let virtualStates: Promise<Float32Array> | undefined;
  const steps = {
    embed: method?.embed && ((x: Tensor, { methodScope }: Tracer) => method.embed!(x, methodScope)),
    enter: blockEntry(architecture, method),
  };
  const compiled = new Map<string, Hook>();

  return async (given, lengths, shape, positions, target) => {
    const ids = images.tokens(given);
    const { batch, sequence } = shape;
    const x = floatData(target);
    const trained = embedding && parameters.parameter(embedding).data;
    embedTokens(architecture, weights, ids, x, trained);
    if (method?.virtualTokens) {
      const { states } = method.virtualTokens;
      virtualStates ??= compileHook(
        { ...shape, batch: 1, sequence: 1, maskBatch: 1 },
        [1],
        (_, { methodScope }) => states(methodScope),
      ).then((hook) => hook(floats(new Float32Array(1), [1]), {}));
      const all = await virtualStates;
      lengths.forEach((length, row) => {
        const rest = all.subarray(length * hiddenSize, (length + sequence) * hiddenSize);
        if (length < virtualCount) x.set(rest, row * sequence * hiddenSize);
      });
    }
    const tokenIds = integers(BigInt64Array.from(ids, BigInt), [batch, sequence]);
    const run = async (name: keyof typeof steps) => {
      const step = steps[name];
      if (!step) return;
      const key = `${name} ${batch} ${sequence} ${shape.rotaryLength}`;
      const hook = compiled.get(key) ?? compileHook(shape, target.dims, step);
      compiled.set(key, hook);
      x.set(await (await hook)(target, { tokenIds, positions }));
    };
    await run("embed");
    images.put(given, x);
    await run("enter");
  };
}
