// Which modules a method adapts: PEFT's rules for `target_modules`, `exclude_modules`,
// `layers_to_transform`, and patterns keyed by module name (`peft/tuners/tuners_utils.py`).

import { nearest, TunesmithError } from "../errors.ts";
import type { ModelDescription } from "./method.ts";

export interface LinearModule {
  readonly path: string;
  /** "output" makes logits; an "embedding" takes token ids, of which it has `inputSize`. */
  readonly kind: "linear" | "output" | "embedding";
  /** The checkpoint's weight that it reads; a tied output module's is the embedding's. */
  readonly weight: string;
  readonly outputSize: number;
  readonly inputSize: number;
  readonly hasBias: boolean;
  /** Whether the checkpoint's files hold its weight the other way round. */
  readonly isTransposed?: true;
}

export interface TargetOptions {
  /** Names (equal, or ends with `.name`), one regular expression for the whole path, or "all-linear". */
  readonly targets: string | readonly string[];
  readonly exclude?: string | readonly string[];
  /** Only these layers, and modules that are named by their whole path. With names or "all-linear" alone. */
  readonly layers?: readonly number[];
  /** Whether the embedding may be named as well. */
  readonly embeddings?: boolean;
}

/**
 * Every linear module of the layers, in the model's order: those of a role, or of several. Routers are
 * of their own, as nothing means one that does not name it.
 */
export function linearModules(
  model: ModelDescription,
  roles: readonly ("linear" | "router")[] = ["linear"],
): LinearModule[] {
  const biases = new Set(model.weights.filter((w) => w.role === "bias").map((w) => w.name));
  return model.weights
    .filter(({ role }) => roles.some((wanted) => role === wanted))
    .map((weight) => {
      const path = weight.name.replace(/\.weight$/, "");
      return {
        path,
        kind: "linear",
        weight: weight.name,
        outputSize: weight.shape[0]!,
        inputSize: weight.shape[1]!,
        hasBias: biases.has(`${path}.bias`),
        ...(weight.isTransposed && { isTransposed: true }),
      };
    });
}

/** What PEFT's `fan_in_fan_out` says of adapted modules, all of which are of one kind there. */
export const isStoredTransposed = (modules: readonly LinearModule[]): boolean =>
  modules.some(({ isTransposed }) => isTransposed);

/** The module that makes logits, and the embedding. */
function outerModules(model: ModelDescription): { output: LinearModule; embedding: LinearModule } {
  const embedding = model.weights.find(({ role }) => role === "embedding")!;
  const [vocabularySize, hiddenSize] = embedding.shape as [number, number];
  const path = model.outputPath;
  return {
    output: {
      path,
      kind: "output",
      weight: model.outputName,
      outputSize: model.weights.find(({ name }) => name === model.outputName)!.shape[0]!,
      inputSize: hiddenSize,
      hasBias: model.weights.some(({ name }) => name === `${path}.bias`),
    },
    embedding: {
      path: embedding.name.replace(/\.weight$/, ""),
      kind: "embedding",
      weight: embedding.name,
      outputSize: hiddenSize,
      inputSize: vocabularySize,
      hasBias: false,
    },
  };
}

const endsWith = (path: string, name: string) => path === name || path.endsWith(`.${name}`);

/**
 * PEFT's rule for lists of modules: names are endings of paths, a text is a regular expression.
 * @throws TunesmithError (config) where the text is no regular expression
 */
export function matcher(
  rule: string | readonly string[],
  where: string,
): (path: string) => boolean {
  if (typeof rule !== "string") return (path) => rule.some((name) => endsWith(path, name));
  const pattern = compilePattern(`^(?:${rule})$`, rule, where);
  return (path) => pattern.test(path);
}

/** @throws TunesmithError (config) where the text is no regular expression */
export function compilePattern(source: string, shown: string, where: string): RegExp {
  try {
    return new RegExp(source);
  } catch (cause) {
    const seen = `${JSON.stringify(shown)} (${(cause as Error).message})`;
    throw new TunesmithError(
      "config",
      {
        where,
        rule: "must be a regular expression that matches whole module paths",
        seen,
        fix: 'write a list of names instead, such as ["q_proj", "v_proj"]',
      },
      { cause },
    );
  }
}

/**
 * The modules that `options` select. "all-linear" leaves out the output module and routers, names and
 * expressions may mean them.
 * @throws TunesmithError (config) if a name, or the whole selection, matches nothing, and for layers
 *   beside an expression
 */
export function selectTargets(model: ModelDescription, options: TargetOptions): LinearModule[] {
  const { targets, exclude = [], layers, embeddings = false } = options;
  const { output, embedding } = outerModules(model);
  const named = [...linearModules(model, ["router"]), output, ...(embeddings ? [embedding] : [])];
  const outer = targets === "all-linear" ? [] : named;
  const modules = [...linearModules(model), ...outer];
  const names = [...new Set(modules.map((module) => module.path.split(".").at(-1)!))];
  const wanted = targets === "all-linear" ? () => true : matcher(targets, "method.targets");
  const unwanted = matcher(exclude, "method.exclude");
  const inLayers = (path: string) => {
    const layer = /\.(\d+)\./.exec(path)?.[1];
    if (!layers || (layer !== undefined && layers.includes(Number(layer)))) return true;
    return targets.includes(path) && typeof targets !== "string";
  };
  // PEFT refuses such a file, or passes the layers over.
  if (layers && typeof targets === "string" && targets !== "all-linear")
    throw new TunesmithError("config", {
      where: "method.layersToTransform",
      rule: "goes with names as targets, or all-linear",
      seen: `${JSON.stringify(layers)} with the regular expression ${JSON.stringify(targets)}`,
      fix: "say the layers in the expression, such as .*layers\\.[01]\\..*q_proj, or list names",
    });

  if (typeof targets !== "string") {
    const otherThan = (name: string): string => {
      if (endsWith(embedding.path, name))
        return `train the embedding itself: modulesToSave: ["${name}"], or adapt it with lora`;
      const guess = nearest(name, names);
      return guess ? `nearest is ${JSON.stringify(guess)}` : 'use "all-linear" for all of them';
    };
    const faults = targets
      .filter((name) => !modules.some((module) => endsWith(module.path, name)))
      .map((name) => ({
        where: "method.targets",
        rule: `every target names a linear module of the model${embeddings ? ", or its embedding" : ""}`,
        seen: `${JSON.stringify(name)} matches no module of ${names.join(", ")}`,
        fix: otherThan(name),
      }));
    if (faults.length > 0) throw new TunesmithError("config", faults);
  }
  const selected = modules.filter(({ path }) => wanted(path) && !unwanted(path) && inLayers(path));
  if (selected.length === 0)
    throw new TunesmithError("config", {
      where: "method.targets",
      rule: "targets, exclude and layersToTransform leave at least one module",
      seen: `${JSON.stringify(targets)} leaves none of ${names.join(", ")}`,
      fix: 'use targets: all-linear, or names such as ["q_proj", "v_proj"]',
    });
  return selected;
}

/**
 * The value of the first pattern that a path matches, as PEFT's `rank_pattern` does:
 * a regular expression for the path's last components.
 */
export function patternValue<T>(
  patterns: Readonly<Record<string, T>>,
  path: string,
  where: string,
): T | undefined {
  const found = Object.entries(patterns).find(([key]) =>
    compilePattern(`^(?:.*\\.)?(?:${key})$`, key, where).test(path),
  );
  return found?.[1];
}

/**
 * For methods that report to a loss of their own: the output matrix runs on labelled rows alone and
 * reports nothing.
 * @throws TunesmithError (config) where it is among the modules
 */
export function refuseOutput(
  model: ModelDescription,
  modules: readonly LinearModule[],
  method: string,
): void {
  if (!modules.some(({ path }) => path === model.outputPath)) return;
  throw new TunesmithError("config", {
    where: "method.targets",
    rule: `${method} adapts the layers inside the blocks`,
    seen: JSON.stringify(model.outputPath),
    fix: `leave ${model.outputPath} out of the targets, or adapt it with lora`,
  });
}
