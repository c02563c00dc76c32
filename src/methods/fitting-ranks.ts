// Ranks that a matrix has no room for. What lies above its smaller side costs memory and time and adds
// nothing, so whoever trains a new adapter is told. Adapters in files are taken as they are: PEFT makes
// and loads them with any rank.

import type { IdleFault } from "./idle-options.ts";
import type { RankUse } from "./method.ts";
import { type LinearModule, patternValue } from "./targets.ts";

const RULES: Readonly<Record<RankUse["kind"], string>> = {
  rank: "a rank is at most the smaller side of the matrix that it is for: more of it adds nothing",
  group: "a group is no wider than a layer's inputs",
  reduction: "a bottleneck keeps at least one number of what it reads",
};

/**
 * The largest rank that a matrix has. A vector takes any: "all-linear" finds some, such as the gate of
 * a shared expert, and nobody would choose a rank for them.
 */
export function smallerSide(shape: readonly [number, number]): number {
  const smaller = Math.min(...shape);
  return smaller === 1 ? Number.POSITIVE_INFINITY : smaller;
}

/**
 * The rank of a product beside a module's weight, or of factors of a matrix of `shape`. Every matrix
 * [m, n] is a product of rank min(m, n); a chain of as many reflections takes the rows of W to
 * wherever a rotation does.
 */
export function rankUse(
  option: string,
  rank: number,
  { path, outputSize, inputSize }: LinearModule,
  shape: readonly [number, number] = [outputSize, inputSize],
): RankUse {
  return { kind: "rank", option, rank, path, shape, largest: smallerSide(shape) };
}

/** Ranks of a method, and those of some modules. */
interface Ranks {
  readonly rank: number;
  readonly rankPattern: Readonly<Record<string, number>>;
}

/** A module's own rank, which `rankPattern` may say. */
export function patternRankUse({ rank, rankPattern }: Ranks, module: LinearModule): RankUse {
  const own = patternValue(rankPattern, module.path, "method.rankPattern");
  const option = own === undefined ? "rank" : "rankPattern";
  return { ...rankUse(option, own ?? rank, module), hasPattern: true };
}

/** A fault for each option, number and shape that do not go together; the fix fits all shapes. */
export function unfittingRanks(uses: readonly RankUse[]): IdleFault[] {
  const groups = new Map<string, RankUse[]>();
  const most = new Map<string, number>();
  for (const use of uses.filter(({ rank, largest }) => rank > largest)) {
    const { option, rank, shape, largest } = use;
    const key = [option, rank, shape].join();
    groups.set(key, [...(groups.get(key) ?? []), use]);
    most.set(option, Math.min(largest, most.get(option) ?? largest));
  }
  return [...groups.values()].map((group) => {
    const [{ kind, option, rank, path, shape }] = group as [RankUse];
    const more = group.length > 1 ? `, and at ${group.length - 1} more of that shape` : "";
    return {
      option,
      rule: RULES[kind],
      seen: `${rank} at ${path}, of shape [${shape.join(", ")}]${more}`,
      fix: fixFor(group as [RankUse], most.get(option)!),
    };
  });
}

/** @param most fits all shapes that the option is too large for */
function fixFor(group: readonly [RankUse, ...RankUse[]], most: number): string {
  const [{ option, largest, hasPattern }] = group;
  const advice = `use ${option === "rankPattern" ? largest : most} or less`;
  if (!hasPattern) return advice;
  const names = [...new Set(group.map(({ path }) => path.split(".").at(-1)!))];
  const pattern = `rankPattern: { ${names.map((name) => `${name}: ${largest}`).join(", ")} }`;
  return option === "rankPattern"
    ? `${advice} there, such as ${pattern}`
    : `${advice}, or ${pattern}`;
}
