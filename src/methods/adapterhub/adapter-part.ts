// A part of a union: adapters of one kind, with what AdapterHub's file says about them. A method of
// AdapterHub's is one part or several, whose hooks take effect together.

import type { AdapterTensor, JsonObject } from "../../hub/index.ts";
import { add, type Tensor } from "../../tensor/index.ts";
import type {
  AdapterTensors,
  BoundMethod,
  MethodScope,
  ModelDescription,
  ParameterSpec,
  ParameterValues,
} from "../method.ts";
import { type JoinedTensor, joinPieces, splitTensor } from "../parts/joined-tensor.ts";
import { hubEnvelope } from "./adapterhub-config.ts";

/** Hooks answer undefined where a module is not theirs. */
export interface AdapterPart
  extends Pick<
    BoundMethod,
    "ranks" | "prefix" | "enter" | "output" | "readsWholeRows" | "mixesPositions"
  > {
  readonly parameters: readonly ParameterSpec[];
  /** Paths of the modules that are changed. */
  readonly adapted: readonly string[];
  /** The library's configuration of it. */
  readonly config: JsonObject;
  /** Added to the output of a linear module that reads x. */
  readonly beside?: (path: string, x: Tensor, scope: MethodScope) => Tensor | undefined;
  readonly residual?: (
    path: string,
    x: Tensor,
    output: Tensor,
    scope: MethodScope,
  ) => Tensor | undefined;
  /** Tensors of the file that are parameters in pieces. */
  readonly joined?: readonly JoinedTensor[];
}

export const modelPrefix = ({ blocks }: ModelDescription): string =>
  blocks[0]!.block.split(".")[0]!;

/** What binds parts to a model, but for merging. */
export function boundParts(
  name: string,
  parts: readonly AdapterPart[],
  model: ModelDescription,
  file: { readonly adapterName: string; readonly config: JsonObject; readonly extra?: JsonObject },
): Omit<BoundMethod, "mergeInto" | "unmergeable"> {
  const withHook = <Hook extends keyof AdapterPart>(hook: Hook) =>
    parts.flatMap((part) => part[hook] ?? []) as NonNullable<AdapterPart[Hook]>[];
  const beside = withHook("beside");
  const residual = withHook("residual");
  const [prefix] = withHook("prefix");
  const [enter] = withHook("enter");
  const [output] = withHook("output");
  const joined = parts.flatMap((part) => part.joined ?? []);
  return {
    name,
    parameters: parts.flatMap(({ parameters }) => parameters),
    adapted: [...new Set(parts.flatMap(({ adapted }) => adapted))],
    ranks: parts.flatMap(({ ranks = [] }) => ranks),
    replaces: new Map(),
    ...(beside.length > 0 && {
      linear: (path, x, base, scope) =>
        beside.reduce((y, hook) => {
          const added = hook(path, x, scope);
          return added ? add(y, added) : y;
        }, base(x)),
    }),
    ...(residual.length > 0 && {
      residual(path, x, moduleOutput, scope) {
        for (const hook of residual) {
          const joinedStream = hook(path, x, moduleOutput, scope);
          if (joinedStream) return joinedStream;
        }
        return add(x, moduleOutput);
      },
    }),
    ...(prefix && { prefix }),
    ...(enter && { enter }),
    ...(output && { output }),
    ...(parts.some((part) => part.readsWholeRows || part.mixesPositions) && {
      readsWholeRows: true,
    }),
    ...(parts.some((part) => part.mixesPositions) && { mixesPositions: true }),
    saved: {
      config: { ...hubEnvelope(file.adapterName, file.config, model), ...file.extra },
      tensors: (values) => toFile(parts, joined, values),
      read: (tensors) => fromFile(joined, tensors),
    },
  };
}

function toFile(
  parts: readonly AdapterPart[],
  joined: readonly JoinedTensor[],
  values: ParameterValues,
): AdapterTensors {
  const inPieces = new Set(joined.flatMap(({ pieces }) => pieces));
  const whole = parts
    .flatMap(({ parameters }) => parameters)
    .filter((spec) => !inPieces.has(spec))
    .map((spec) => [spec.key, { shape: spec.shape, data: values(spec) }] as const);
  return new Map([
    ...whole,
    ...joined.map((tensor) => [tensor.key, joinPieces(tensor, values)] as const),
  ]);
}

function fromFile(joined: readonly JoinedTensor[], tensors: AdapterTensors): AdapterTensors {
  const result = new Map<string, AdapterTensor>();
  for (const [key, tensor] of tensors) {
    // Files of the library have some tensors twice: a prefix's for each layer, and a norm in front.
    const normed = key.replace(".adapter_down.0.", ".adapter_norm_before.");
    if (key.includes(".prefix_tuning.pool.") || (normed !== key && tensors.has(normed))) continue;
    result.set(key, tensor);
  }
  for (const tensor of joined) {
    const pieces = splitTensor(tensor, result);
    result.delete(tensor.key);
    for (const [key, piece] of pieces) result.set(key, piece);
  }
  return result;
}
