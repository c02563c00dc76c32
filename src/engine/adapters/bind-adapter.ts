// An adapter's file put to a model: its method bound to the base, its tensors found for the method's
// parameters, and what does not fit told with the base that the adapter was made for.

import { type Fault, TunesmithError } from "../../errors.ts";
import { type Adapter, namedBase } from "../../hub/index.ts";
import {
  type BoundMethod,
  bindMethod,
  type MethodOptions,
  type ModelDescription,
  withoutStrangeTargets,
} from "../../methods/index.ts";
import type { BoundArchitecture } from "../../models/index.ts";
import { type Misfit, ranksBesideConfig } from "./config-ranks.ts";
import { isOfBase } from "./own-tokens.ts";

/**
 * The adapter's method, bound to the base.
 * @param options what `methodOfAdapter` says
 * @throws TunesmithError (checkpoint) where the base lacks what the adapter changes
 */
export function bindAdapter(
  options: MethodOptions,
  adapter: Adapter,
  folder: string,
  model: ModelDescription,
): BoundMethod {
  try {
    return bindMethod(withoutStrangeTargets(options, model), model);
  } catch (error) {
    if (!(error instanceof TunesmithError) || error.code !== "config") throw error;
    // The options are the file's: who only loads it cannot correct them.
    const faults = error.faults.map(({ where, fix, ...fault }) => ({
      where: `${folder}/adapter_config.json (${where})`,
      ...fault,
      fix: `${withOwnBase(adapter)}, or ${fix}`,
    }));
    throw new TunesmithError("checkpoint", faults, { cause: error });
  }
}

const withOwnBase = ({ config }: Adapter): string =>
  `use the adapter with its own base (${namedBase(config) ?? "not named"})`;

/** Faults that are told of one adapter. */
const MOST_FAULTS = 10;

/**
 * What PEFT saves besides, and the base or another key has: the frozen embedding beside adapters that touch
 * it, and with `bias: all` the biases of whole modules once more, by its own wrapper's names.
 */
const REPEATED = /\.(base_layer\.weight|(original_module|modules_to_save)\.bias)$/;

/** A tensor of a file, or one that it lacks, and what is wrong with it. */
interface WrongTensor {
  readonly key: string;
  readonly rule: string;
  readonly seen: string;
  /** What is told once, of the first such tensor. */
  readonly kind: string;
}

/** The adapter's tensors by parameter key. @throws TunesmithError (checkpoint) for what does not fit */
export function adapterValues(
  adapter: Adapter,
  method: BoundMethod,
  folder: string,
  architecture: BoundArchitecture,
): Map<string, Float32Array> {
  const values = new Map<string, Float32Array>();
  const misfits: Misfit[] = [];
  const wrong: WrongTensor[] = [];
  const asks = (shape: readonly number[]) =>
    `the base model asks for a tensor of shape [${shape.join(", ")}]`;
  const read = method.saved === "checkpoint" ? undefined : method.saved.read;
  const tensors = read ? read(adapter.tensors, adapter.encoder) : adapter.tensors;
  for (const { key, shape, state, derived } of method.parameters) {
    if (state || derived) continue;
    const tensor = tensors.get(key);
    if (!tensor) wrong.push({ key, rule: asks(shape), seen: "no such tensor", kind: "lacking" });
    else if (tensor.shape.join() === shape.join()) values.set(key, tensor.data);
    else misfits.push({ key, asked: shape, seen: tensor.shape });
  }
  const { faults, others } = ranksBesideConfig(misfits, method.ranks ?? [], folder);
  for (const { key, asked, seen } of others) {
    const found = `[${seen.join(", ")}]`;
    wrong.push({ key, rule: asks(asked), seen: found, kind: `${asked} ${found}` });
  }
  const known = new Set(method.parameters.map((spec) => spec.key));
  for (const key of tensors.keys())
    if (!known.has(key) && !isOfBase(key, architecture) && !REPEATED.test(key))
      wrong.push({
        key,
        rule: "every tensor of an adapter has a place in the base model",
        seen: "a tensor that has none",
        kind: "left over",
      });
  const all = [...faults, ...grouped(wrong, folder, withOwnBase(adapter))];
  if (all.length > 0) throw new TunesmithError("checkpoint", all.slice(0, MOST_FAULTS));
  return values;
}

/** One fault for each kind of wrong tensor, with how many there are. */
function grouped(wrong: readonly WrongTensor[], folder: string, fix: string): Fault[] {
  const kinds = new Map<string, WrongTensor[]>();
  for (const tensor of wrong) kinds.set(tensor.kind, [...(kinds.get(tensor.kind) ?? []), tensor]);
  return [...kinds.values()].map((alike) => {
    const [{ key, rule, seen }] = alike as [WrongTensor];
    const more = alike.length > 1 ? `, and ${alike.length - 1} more of that kind` : "";
    return { where: `${folder}: ${key}`, rule, seen: `${seen}${more}`, fix };
  });
}
