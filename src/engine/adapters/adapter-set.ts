// Several adapters on one model: loaded by name, chosen call by call, merged into the base and taken
// out of it again. A kernel is a graph and parameters are its inputs, so adapters of equal shapes share
// all kernels, and choosing another one costs nothing.

import {
  asPlainLora,
  atRank,
  convertToLora,
  mergeAdapters,
  mixedRows,
  type PlainLora,
  readPlainLora,
} from "../../adapters/index.ts";
import { type Adapter, readAdapter } from "../../hub/index.ts";
import {
  type BoundMethod,
  type ModelDescription,
  methodOfAdapter,
  type ParameterSpec,
  type ParameterValues,
} from "../../methods/index.ts";
import { type BoundArchitecture, classifierKeys } from "../../models/index.ts";
import type { Runtime } from "../../runtime/kernel.ts";
import { createBufferPool } from "../../runtime/values.ts";
import type { MethodParts } from "../computed-tensors.ts";
import { forwardWith } from "../forward.ts";
import { createNetwork } from "../network.ts";
import { createParameters, type FirstValue, type ParameterSet } from "../parameters.ts";
import { remember } from "../remember.ts";
import { checkMergeable, isUntied, mergedWeight } from "../save.ts";
import type { WeightStore } from "../weights/weights.ts";
import {
  moreTokens,
  nameTaken,
  noRank,
  noSuchAdapter,
  otherRowCount,
  rowsShareOutput,
  stillMerged,
  trainedHere,
  untiedHead,
} from "./adapter-faults.ts";
import type {
  AdaptedModel,
  AdapterChoice,
  AdapterSelection,
  AdapterSet,
} from "./adapter-set-contract.ts";
import { adapterValues, bindAdapter } from "./bind-adapter.ts";
import { tokenCountOf } from "./own-tokens.ts";

export type {
  AdaptedModel,
  AdapterChoice,
  AdapterSelection,
  AdapterSet,
} from "./adapter-set-contract.ts";

export interface AdapterSetOptions {
  readonly description: ModelDescription;
  readonly architecture: BoundArchitecture;
  readonly weights: WeightStore;
  readonly runtime: Runtime;
  readonly memory: "fast" | "lean";
  /** First values of what an adapter's file does not hold, as they follow from the base. */
  readonly first: FirstValue;
  /** The model without any of these adapters. */
  readonly base: AdaptedModel;
}

interface Loaded {
  readonly adapter: Adapter;
  readonly folder: string;
  readonly view: AdaptedModel;
}

/** Sums and batches of several adapters that are kept: their matrices are copies. */
const KEPT_COMBINATIONS = 4;

export function createAdapterSet(options: AdapterSetOptions): AdapterSet {
  const { description, architecture, weights, runtime, memory, first, base } = options;
  const loaded = new Map<string, Loaded>();
  const combinations = new Map<string, Promise<AdaptedModel>>();
  const mixedMethods = new Map<string, BoundMethod>();
  const pool = createBufferPool();
  let merged: AdapterChoice = null;
  let restore: (() => void)[] = [];

  const viewOf = (method: BoundMethod, parameterSet: ParameterSet): AdaptedModel => {
    const parts = { architecture, method, weights, runtime };
    const network = createNetwork({ ...parts, parameters: parameterSet, memory, pool });
    const { config, generationConfig } = base;
    const { evaluateLoss } = network;
    const forward = forwardWith(network);
    return { ...parts, parameterSet, config, generationConfig, evaluateLoss, forward };
  };

  /** Nothing is trained, so there is no memory for gradients. */
  const parametersOf = (method: BoundMethod, values?: Map<string, Float32Array>) =>
    createParameters(
      method.parameters.map((spec): ParameterSpec => ({ ...spec, frozen: true })),
      first,
      values,
    );

  const open = async (adapter: Adapter, folder: string): Promise<Loaded> => {
    const method = bindAdapter(methodOfAdapter(adapter, folder), adapter, folder, description);
    const values = adapterValues(adapter, method, folder, architecture);
    if (method.takenFromBase)
      return open(await withoutTakenPart(method, method.takenFromBase, values, first), folder);
    return { adapter, folder, view: viewOf(method, await parametersOf(method, values)) };
  };

  const get = (name: string): Loaded => {
    const found = loaded.get(name);
    if (found) return found;
    throw noSuchAdapter(name, [...loaded.keys()]);
  };
  const plain = (name: string): PlainLora => {
    const { adapter, folder } = get(name);
    return readPlainLora(adapter, folder);
  };

  const sumOf = async (factors: Readonly<Record<string, number>>): Promise<AdaptedModel> => {
    const names = Object.keys(factors);
    const weights = Object.values(factors);
    const sum = await mergeAdapters(names.map(plain), { method: "cat", weights });
    return (await open(sum, names.join(" + "))).view;
  };

  const byRows = async (names: readonly (string | null)[]): Promise<AdaptedModel> => {
    const loras = new Map(names.map((name) => [name, name === null ? undefined : plain(name)]));
    const { outputPath } = description;
    const ofOutput = [...loras].find(([, lora]) => lora?.modules.has(outputPath));
    if (ofOutput) throw rowsShareOutput(String(ofOutput[0]), outputPath);
    const mixed = mixedRows(names.map((name) => loras.get(name)));
    const values = new Map<string, Float32Array>();
    for (const spec of mixed.parameters) values.set(spec.key, await first(spec));
    // Other rows of the same shapes are the same method with other values.
    const shapes = JSON.stringify(mixed.parameters.map(({ key, shape }) => [key, shape]));
    const method = remember(mixedMethods, shapes, KEPT_COMBINATIONS, () => mixed);
    return viewOf(method, await parametersOf(method, values));
  };

  const kept = (key: string, make: () => Promise<AdaptedModel>): Promise<AdaptedModel> => {
    const found = remember(combinations, key, KEPT_COMBINATIONS, make);
    found.catch(() => combinations.delete(key));
    return found;
  };

  const choose = async (choice: AdapterChoice): Promise<AdaptedModel> => {
    if (choice === null) return base;
    if (typeof choice === "string") return get(choice).view;
    const factors = Object.entries(choice);
    if (factors.length === 0) return base;
    for (const [name] of factors) get(name);
    return kept(JSON.stringify(factors), () => sumOf(choice));
  };

  const checkUnmerged = () => {
    if (merged !== null) throw stillMerged(merged);
  };

  return {
    get names() {
      return [...loaded.keys()];
    },
    get merged() {
      return merged;
    },
    async load(name, folder) {
      if (base.method) throw trainedHere(base.method.name);
      if (loaded.has(name)) throw nameTaken(name, loaded.get(name)!.folder);
      checkUnmerged();
      // Nothing is trained here: what an encoder made suffices.
      const { encoder: _, ...adapter } = await readAdapter(folder);
      const { vocabularySize } = architecture.dimensions;
      const count = tokenCountOf(adapter, architecture) ?? vocabularySize;
      if (count > vocabularySize) throw moreTokens(folder, count, vocabularySize);
      loaded.set(name, await open(adapter, folder));
    },
    unload(name) {
      get(name);
      checkUnmerged();
      loaded.delete(name);
      // Combinations are cheap to make again; which ones it was part of is not worth keeping.
      combinations.clear();
      mixedMethods.clear();
    },
    async select(selection, rows) {
      if (selection !== null) checkUnmerged();
      if (!isRows(selection)) return choose(selection);
      if (selection.length !== rows) throw otherRowCount(selection.length, rows);
      for (const name of selection) if (name !== null) get(name);
      const distinct = new Set(selection);
      if (distinct.size === 1) return choose(selection[0]!);
      return kept(JSON.stringify(selection), () => byRows(selection));
    },
    mixes(choice) {
      if (choice === null) return true;
      if (typeof choice !== "string") return false;
      const { adapter, folder } = get(choice);
      const lora = asPlainLora(adapter, folder);
      return lora !== undefined && !lora.modules.has(description.outputPath);
    },
    async toLora(name, choice, signal) {
      checkUnmerged();
      const { adapter, folder, view } = get(name);
      const lora = await atRank(adapter, folder, choice, signal);
      if (lora) return lora;
      if (!choice) throw noRank(view.method!.name);
      const values: ParameterValues = (spec) => view.parameterSet.parameter(spec).data;
      const made = await convertToLora(
        view.method!,
        values,
        description,
        weights.copy,
        choice,
        signal,
      );
      const { classifier } = architecture;
      if (!classifier) return made;
      const config = { ...made.config, task_type: "SEQ_CLS" };
      return { ...made, config, labels: classifierKeys(classifier) };
    },
    async merge(choice) {
      checkUnmerged();
      const view = await choose(choice);
      if (!view.method || view === base) return;
      const parts: MethodParts = { ...view, parameters: view.parameterSet };
      checkMergeable(view.method, weights);
      if (architecture.outputName !== `${architecture.outputPath}.weight` && isUntied(parts))
        throw untiedHead(view.method.name);
      const changed = architecture.weights.flatMap(({ name }) => {
        const data = mergedWeight(parts, name);
        const before = weights.copy(name);
        return data.some((value, i) => value !== before[i]) ? [[name, data] as const] : [];
      });
      restore = changed.map(([name, data]) => weights.replace(name, data));
      merged = choice;
    },
    unmerge() {
      for (const put of restore) put();
      restore = [];
      merged = null;
    },
  };
}

const isRows = (selection: AdapterSelection): selection is readonly (string | null)[] =>
  Array.isArray(selection);

/** An adapter on the base less a part of it, as one on the base itself. */
async function withoutTakenPart(
  method: BoundMethod,
  takenFromBase: ReadonlyMap<string, readonly ParameterSpec[]>,
  values: ReadonlyMap<string, Float32Array>,
  first: FirstValue,
): Promise<Adapter> {
  const initial = new Map<string, Float32Array>();
  for (const spec of [...takenFromBase.values()].flat()) initial.set(spec.key, await first(spec));
  const { saved } = method;
  if (saved === "checkpoint" || !saved.tensors)
    throw new Error(`${method.name} takes a part of the base and does not say how it is saved`);
  const ofKey = ({ key }: ParameterSpec) => values.get(key)!;
  return {
    config: typeof saved.config === "function" ? saved.config(ofKey) : saved.config,
    tensors: saved.tensors(ofKey, ({ key }) => initial.get(key)!),
  };
}
