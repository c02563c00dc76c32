// LoRAMoE (Dou et al. 2023): beside each linear module several LoRAs, of which every token uses all, by
// the weights of the module's own router. Tensor names and the balancing loss are those of Ablustrund's
// library, which is PEFT's with another linear layer.

import { TunesmithError } from "../../errors.ts";
import { weightedSum } from "../../models/index.ts";
import { add, linear, multiply, reshape, softmax, sum } from "../../tensor/index.ts";
import { peftPath } from "../adapted-modules.ts";
import { rankUse } from "../fitting-ranks.ts";
import type { BoundMethod, ModelDescription, ParameterSpec } from "../method.ts";
import { uniformSpec } from "../parts/initial-values.ts";
import { toPeftConfig } from "../peft-format.ts";
import { type LinearModule, refuseOutput, selectTargets } from "../targets.ts";
import { type ExpertBank, expertBank, lower, raise, weigh } from "./expert-bank.ts";
import { loraMoeLayout, type MoeLoraSettings } from "./moe-lora-options.ts";
import { variation } from "./variation.ts";

interface Mixture {
  /** The router, [experts, in]. */
  readonly router: ParameterSpec;
  readonly bank: ExpertBank;
}

/** @throws TunesmithError (config) for targets that the model does not have */
export function bindLoraMoe(options: MoeLoraSettings, model: ModelDescription): BoundMethod {
  const { experts, dropout, balance } = options;
  const modules = selectTargets(model, { targets: options.targets });
  refuseOutput(model, modules, "LoRAMoE");
  refuseExperts(model, modules);
  const mixtures = new Map(
    modules.map((module): [string, Mixture] => {
      const { path, inputSize } = module;
      const prefix = peftPath(path);
      const router = uniformSpec(`${prefix}.lora_route.weight`, [experts, inputSize], inputSize);
      const key = (matrix: "A" | "B", expert: number) => `${prefix}.lora_${matrix}${expert}.weight`;
      return [path, { router, bank: expertBank(module, options, key) }];
    }),
  );
  return {
    name: "moe-lora",
    adapted: [...mixtures.keys()],
    ranks: modules.map((module) => rankUse("rank", options.rank, module)),
    parameters: [...mixtures.values()].flatMap(({ router, bank }) => [
      router,
      ...bank.a,
      ...bank.b,
    ]),
    replaces: new Map(),
    linear(path, x, base, scope) {
      const mixture = mixtures.get(path);
      if (!mixture) return base(x);
      const { router, bank } = mixture;
      const weights = softmax(linear(x, scope.parameter(router)));
      if (balance > 0 && scope.training) {
        const real = multiply(weights, scope.realPositions());
        const rows = reshape(real, [scope.batch, scope.sequence, experts]);
        scope.statistic(path, reshape(sum(rows, [1]), [scope.batch * experts]));
      }
      const low = lower(bank, scope.dropout(x, dropout, path), scope);
      return add(raise(bank, weigh(bank, low, weights), scope), base(x));
    },
    ...(balance > 0 && {
      readsWholeRows: true,
      auxiliaryLoss: (statistics) =>
        weightedSum(
          [...mixtures.keys()].map((path) => [path, variation(statistics.get(path)!)] as const),
          balance,
        ),
    }),
    unmergeable: "experts that each token weighs for itself",
    saved: { config: toPeftConfig(loraMoeLayout, options, model, modules) },
  };
}

/**
 * A router beside an expert would be balanced over tokens that the expert is not for.
 * @throws TunesmithError (config) where experts of the model are among the modules
 */
function refuseExperts(model: ModelDescription, modules: readonly LinearModule[]): void {
  const isExpert = ({ path }: LinearModule) =>
    model.blocks.some(({ experts }) => experts !== undefined && path.startsWith(`${experts}.`));
  const found = modules.find(isExpert);
  if (!found) return;
  throw new TunesmithError("config", {
    where: "method.targets",
    rule: "LoRAMoE adapts layers that all tokens go through",
    seen: `${found.path}, an expert of the model`,
    fix: 'name layers of the attention, such as ["q_proj", "v_proj"]',
  });
}
