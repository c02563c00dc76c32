// The modules that a LoRA adapts, and the tensors that it brings to each.

import { patternRankUse } from "../fitting-ranks.ts";
import type { ParameterSpec, RankUse } from "../method.ts";
import { type LinearModule, patternValue } from "../targets.ts";
import { type DoraParts, doraParts } from "./dora-scale.ts";
import { isMadeOfWeight, loraInitials, startsAsPartOfBase } from "./lora-init.ts";
import type { CompleteLora } from "./lora-options.ts";
import type { LoraProduct } from "./lora-product.ts";

/** An adapted module. */
export interface LoraSite extends LoraProduct {
  readonly rankUse: RankUse;
  /** What B adds besides, [out]. */
  readonly bias?: ParameterSpec;
  readonly dora?: DoraParts;
}

/** @throws TunesmithError (config) for ranks and initialisations that do not fit a module */
export function loraSite(module: LinearModule, options: CompleteLora): LoraSite {
  const { path, inputSize, outputSize, kind } = module;
  const { init, learningRateRatio } = options;
  const use = patternRankUse(options, module);
  const rankUse = isMadeOfWeight(init) ? { ...use, largest: Math.min(inputSize, outputSize) } : use;
  const { rank } = rankUse;
  const alpha = patternValue(options.alphaPattern, path, "method.alphaPattern") ?? options.alpha;
  const scaling = alpha / (options.rslora ? Math.sqrt(rank) : rank);
  const initial = loraInitials(init, { ...module, rank, scaling });
  const prefix = `base_model.model.${path}`;
  const [keyA, keyB] =
    kind === "embedding"
      ? [`${prefix}.lora_embedding_A`, `${prefix}.lora_embedding_B`]
      : [`${prefix}.lora_A.weight`, `${prefix}.lora_B.weight`];
  // As LoRA+ has it, B and what scales or shifts outputs learn faster; embeddings do not.
  const faster =
    learningRateRatio === 1 || kind === "embedding"
      ? {}
      : { learningRateFactor: learningRateRatio };
  const a: ParameterSpec = { key: keyA, shape: [rank, inputSize], initial: initial.a };
  const b: ParameterSpec = {
    key: keyB,
    shape: [outputSize, rank],
    initial: initial.b,
    ...(init === "mica" ? { frozen: true } : faster),
  };
  const site = { ...module, rank, rankUse, scaling, a, b };
  return {
    ...site,
    ...(options.loraBias && {
      bias: {
        key: `${prefix}.lora_B.bias`,
        shape: [outputSize],
        initial: initial.bias,
        ...faster,
      },
    }),
    ...(options.dora && {
      // EVA's A is not known yet, and its B is zero.
      dora: doraParts(
        site,
        (startsAsPartOfBase(init) || init === "eva") && kind !== "embedding",
        faster,
      ),
    }),
  };
}

/** Everything that a site brings. */
export const parametersOf = ({ a, b, bias, dora }: LoraSite): ParameterSpec[] => [
  a,
  b,
  ...(bias ? [bias] : []),
  ...(dora ? [dora.magnitude, dora.squares] : []),
];
