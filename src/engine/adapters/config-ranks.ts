// Tensors of an adapter that have another rank than its configuration says: no other base would help,
// since the two files are not of one adapter. All of them are told together.

import type { Fault } from "../../errors.ts";
import type { RankUse } from "../../methods/index.ts";

/** A tensor that is there, and not of the shape that is asked for. */
export interface Misfit {
  readonly key: string;
  readonly asked: readonly number[];
  readonly seen: readonly number[];
}

/** What PEFT's configurations call the options that say ranks. */
const CONFIG_KEYS: Readonly<Record<string, string>> = {
  rank: "r",
  initialRank: "init_r",
  rankPattern: "rank_pattern",
};

interface OtherRank extends Misfit {
  readonly use: RankUse;
  readonly rank: number;
}

/**
 * A fault for each key of the configuration and rank in it that tensors contradict, and the misfits that
 * are of another kind.
 * @param uses of the method, as the configuration has it
 */
export function ranksBesideConfig(
  misfits: readonly Misfit[],
  uses: readonly RankUse[],
  folder: string,
): { readonly faults: readonly Fault[]; readonly others: readonly Misfit[] } {
  const groups = new Map<string, OtherRank[]>();
  const others: Misfit[] = [];
  for (const misfit of misfits) {
    const use = uses.find(({ kind, path }) => kind !== "reduction" && isWithin(misfit.key, path));
    const rank = use && rankInstead(misfit, use.rank);
    if (rank === undefined) {
      others.push(misfit);
      continue;
    }
    const key = [use!.option, use!.rank].join();
    groups.set(key, [...(groups.get(key) ?? []), { ...misfit, use: use!, rank }]);
  }
  const faults = [...groups.values()].map((group): Fault => {
    const [{ use, key }] = group as [OtherRank];
    const name = use.option.split(".").at(-1)!;
    const ranks = [...new Set(group.map(({ rank }) => rank))].sort((a, b) => a - b).join(", ");
    const more = group.length > 1 ? ` and ${group.length - 1} more` : "";
    return {
      where: `${folder}/adapter_config.json: ${CONFIG_KEYS[name] ?? name}`,
      rule: "the configuration says which ranks the adapter's tensors have",
      seen: `${use.rank}, and tensors of rank ${ranks}: ${key}${more}`,
      fix: "fetch or save both files again: they are not of one adapter",
    };
  });
  return { faults, others };
}

const isWithin = (key: string, path: string): boolean => `.${key}`.includes(`.${path}.`);

/** What a shape has where the rank is asked for, if it is the same but for that. */
function rankInstead({ asked, seen }: Misfit, rank: number): number | undefined {
  const odd = asked.flatMap((size, i) => (size === seen[i] ? [] : i));
  const [at] = odd;
  const isRank = asked.length === seen.length && odd.length === 1 && asked[at!] === rank;
  return isRank ? seen[at!] : undefined;
}
