// Options of LoRA that exclude each other on a model.

import { TunesmithError } from "../../errors.ts";
import type { ParameterSpec } from "../method.ts";
import type { CompleteLora } from "./lora-options.ts";
import type { TokenRows } from "./token-rows.ts";

/** @throws TunesmithError (config) for options that exclude each other */
export function checkCombinations(
  { loraBias, dora, init, targets, modulesToSave }: CompleteLora,
  selected: readonly { readonly path: string; readonly kind: string }[],
  tokens: TokenRows | undefined,
  whole: ReadonlyMap<string, ParameterSpec>,
  outputPath: string,
): void {
  const faults = [];
  if (loraBias && (dora || typeof init === "string"))
    faults.push({
      where: "method.loraBias",
      rule: "a bias of B goes with init true or false, and without DoRA, as in PEFT",
      seen: dora ? "dora: true" : `init: ${init}`,
      fix: `leave out loraBias or ${dora ? "dora" : "init"}`,
    });
  const embedding = selected.find(({ kind }) => kind === "embedding");
  if (loraBias && embedding)
    faults.push({
      where: "method.loraBias",
      rule: "an adapted embedding has no bias",
      seen: `${embedding.path} among the targets`,
      fix: "leave out loraBias, or the embedding",
    });
  // As in PEFT, LoRA adds to a tied output matrix whose rows follow the embedding's.
  const follows = (path: string) =>
    path === outputPath && tokens?.isShared && !dora && typeof init !== "string";
  const own = (path: string) =>
    whole.has(`${path}.weight`) ||
    (selected.some((module) => module.path === path) && !follows(path));
  for (const path of [...(tokens?.ids.keys() ?? [])].filter(own))
    faults.push({
      where: "method.trainableTokens",
      rule: "a module has single rows trained, or is adapted or trained as a whole",
      seen: `${path} is in ${whole.has(`${path}.weight`) ? "modulesToSave" : "targets"} as well`,
      fix: `take it out of ${JSON.stringify(whole.has(`${path}.weight`) ? modulesToSave : targets)}, or leave out trainableTokens`,
    });
  if (faults.length > 0) throw new TunesmithError("config", faults);
}
