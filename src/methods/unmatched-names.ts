// Names in a method's options that nothing of the model has. What they were to change would stay as it
// is, and nobody would notice: whoever writes them is told. Files of adapters may hold such names, as PEFT
// keeps what it was given.

import { nearest } from "../errors.ts";
import type { IdleFault } from "./idle-options.ts";
import type { ModelDescription } from "./method.ts";
import { matcher, patternValue } from "./targets.ts";

/** Values by module: their keys are patterns of paths. */
type Patterns = Readonly<Record<string, unknown>>;

/** The options that name modules and have no say in whether there are any. */
interface NamingOptions {
  readonly name?: string;
  readonly exclude?: string | readonly string[];
  readonly layersToTransform?: readonly number[];
  readonly rankPattern?: Patterns;
  readonly alphaPattern?: Patterns;
  readonly frequencyPattern?: Patterns;
}

/** A fault for each option with a name, a pattern or a layer number that fits no module of the model. */
export function unmatchedNames(options: NamingOptions, model: ModelDescription): IdleFault[] {
  const paths = modulePaths(model);
  const last = Math.max(...paths.map((path) => Number(/\.(\d+)\./.exec(path)?.[1] ?? 0)));
  const { exclude = [], layersToTransform = [], ...patterns } = options;
  const names = typeof exclude === "string" ? [] : exclude;

  const unnamed = (option: string, keys: readonly string[]): IdleFault => ({
    option,
    rule: "every name is that of a module of the model",
    seen: keys.map((key) => JSON.stringify(key)).join(", "),
    fix: fixFor(keys[0]!, paths),
  });
  const faults: IdleFault[] = [];
  const strange = names.filter((name) => !paths.some(matcher([name], "method.exclude")));
  if (strange.length > 0) faults.push(unnamed("exclude", strange));
  for (const option of ["rankPattern", "alphaPattern", "frequencyPattern"] as const) {
    const fits = (key: string) => (path: string) =>
      patternValue({ [key]: true }, path, `method.${option}`) ?? false;
    // AdaLoRA's rankPattern is no option by names: it says which triplets of each tensor were kept.
    const keys = Object.entries(patterns[option] ?? {}).flatMap(([key, value]) =>
      typeof value === "number" ? key : [],
    );
    const unused = keys.filter((key) => !paths.some(fits(key)));
    if (unused.length > 0) faults.push(unnamed(option, unused));
  }
  const outside = layersToTransform.filter((layer) => layer > last);
  if (outside.length > 0)
    faults.push({
      option: "layersToTransform",
      rule: `layers are numbered from 0 to ${last}`,
      seen: outside.join(", "),
      fix: "name layers that the model has",
    });
  return faults;
}

const modulePaths = ({ weights, imageWeights = [], outputPath }: ModelDescription): string[] => [
  ...[...weights, ...imageWeights].map(({ name }) => name.replace(/\.(weight|bias)$/, "")),
  outputPath,
];

/** Options that list the modules which a method changes. */
interface TargetLists {
  readonly targets?: string | readonly string[];
  readonly feedforward?: string | readonly string[];
}

/**
 * Options of an adapter's file without the targets that the model lacks. PEFT keeps whatever it was given,
 * such as the names of several architectures, and asks for one that fits; where none does, all stay.
 */
export function withoutStrangeTargets<Options extends object>(
  options: Options,
  model: ModelDescription,
): Options {
  const paths = modulePaths(model);
  const { targets, feedforward }: TargetLists = options;
  const fitting = (list: TargetLists["targets"]) => {
    if (list === undefined || typeof list === "string") return list;
    const known = list.filter((name) => paths.some(matcher([name], "method.targets")));
    return known.length > 0 ? known : list;
  };
  return {
    ...options,
    ...(targets !== undefined && { targets: fitting(targets) }),
    ...(feedforward !== undefined && { feedforward: fitting(feedforward) }),
  };
}

function fixFor(name: string, paths: readonly string[]): string {
  const guess = nearest(name, new Set(paths.map((path) => path.split(".").at(-1)!)));
  return guess ? `nearest is ${JSON.stringify(guess)}` : "correct it, or leave it out";
}
