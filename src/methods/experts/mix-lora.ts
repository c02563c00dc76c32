// MixLoRA (Li et al. 2024): the feed-forward becomes a mixture of experts that share its frozen weights
// and have a LoRA of their own beside each; a router sends every token to its best few, and attention
// gets plain LoRAs. Tensor names and the balancing loss are those of TUDB-Labs' library.
//
// A token's experts are taken by place, first choice, second choice and so on: at each place the frozen
// products are the same for all experts, so they are computed once, and the last one (it is linear) on
// the weighted sum of the places' activations.

import { TunesmithError } from "../../errors.ts";
import type { AdapterTensor } from "../../hub/index.ts";
import { balancing, reportRouting } from "../../models/index.ts";
import { add, constant, linear, multiply, softmax, type Tensor } from "../../tensor/index.ts";
import { rankUse } from "../fitting-ranks.ts";
import type { BoundMethod, MethodScope, ModelDescription, ParameterSpec } from "../method.ts";
import { normalSpec, uniformSpec, zeroSpec } from "../parts/initial-values.ts";
import { toPeftConfig } from "../peft-format.ts";
import { type LinearModule, refuseOutput, selectTargets } from "../targets.ts";
import { type ExpertBank, expertBank, lower, raise, weigh } from "./expert-bank.ts";
import { type Routing, route } from "./expert-routing.ts";
import {
  MODERN_NAMES,
  type MoeLoraSettings,
  mixLoraLayout,
  ROUTING_STRATEGY,
} from "./moe-lora-options.ts";

/** A feed-forward with experts. */
interface Mixture {
  readonly path: string;
  /** The router, [experts, hidden]. */
  readonly gate: ParameterSpec;
  /** By the path of the linear module that they are beside. */
  readonly banks: ReadonlyMap<string, ExpertBank>;
}

interface PlainLora {
  readonly a: ParameterSpec;
  readonly b: ParameterSpec;
}

/** One place's pass through the feed-forward while it is traced. */
interface Pass {
  readonly mixture: Mixture;
  readonly x: Tensor;
  readonly place: Tensor;
  /** A x by module, for all places. */
  readonly lowered: Map<string, Tensor>;
  /** The module that ends the feed-forward, once it was reached. */
  last?: { path: string; input: Tensor; base: (x: Tensor) => Tensor; output: Tensor };
}

/** @throws TunesmithError (config) for targets without a feed-forward, and more choices than experts */
export function bindMixLora(options: MoeLoraSettings, model: ModelDescription): BoundMethod {
  const { rank, alpha, dropout, balance, topK } = options;
  const targets = selectTargets(model, { targets: options.targets });
  refuseOutput(model, targets, "MixLoRA");
  const names = checkTargets(options, model, targets);
  const mixtures = new Map<string, Mixture>();
  const plain = new Map<string, PlainLora>();
  model.blocks.forEach(({ block, feedForward }, layer) => {
    const prefix = `mixlora.layers.${layer}`;
    const isWithin = ({ path }: LinearModule) => path.startsWith(`${feedForward}.`);
    const own = targets.filter(({ path }) => path.startsWith(`${block}.`));
    const banks = own.filter(isWithin).map((module): [string, ExpertBank] => {
      const part = `${prefix}.mlp.${module.path.slice(feedForward.length + 1)}`;
      const key = (matrix: "A" | "B", expert: number) =>
        `${part}.experts.${expert}.lora_${matrix}.weight`;
      return [module.path, expertBank(module, options, key)];
    });
    mixtures.set(feedForward, {
      path: feedForward,
      gate: normalSpec(
        `${prefix}.mlp.moe_gate.weight`,
        [options.experts, model.dimensions.hiddenSize],
        options.routerDeviation,
      ),
      banks: new Map(banks),
    });
    for (const module of own.filter((one) => !isWithin(one))) {
      const key = `${prefix}.${module.path.slice(block.length + 1)}`;
      plain.set(module.path, {
        a: uniformSpec(`${key}.lora_A.weight`, [rank, module.inputSize], module.inputSize),
        b: zeroSpec(`${key}.lora_B.weight`, [module.outputSize, rank]),
      });
    }
  });

  // Tracing is one call from the module's start to its end, so there is one pass at a time.
  let current: Pass | undefined;
  const expertLinear = (
    pass: Pass,
    path: string,
    x: Tensor,
    base: (x: Tensor) => Tensor,
    scope: MethodScope,
  ): Tensor => {
    if (x !== pass.x) {
      // What comes behind the activation is linear: `mixed` runs it once for all places.
      if (pass.last) throw new Error(`${pass.mixture.path} has several products behind each other`);
      const output = base(x);
      pass.last = { path, input: x, base, output };
      return output;
    }
    const bank = pass.mixture.banks.get(path);
    if (!bank) return base(x);
    let low = pass.lowered.get(path);
    if (!low) {
      low = lower(bank, scope.dropout(x, dropout, path), scope);
      pass.lowered.set(path, low);
    }
    return add(raise(bank, weigh(bank, low, pass.place), scope), base(x));
  };

  const mixed = (
    mixture: Mixture,
    x: Tensor,
    run: (x: Tensor) => Tensor,
    { places, weights }: Routing,
    scope: MethodScope,
  ): Tensor => {
    const lowered = new Map<string, Tensor>();
    let activation: Tensor | undefined;
    let low: Tensor | undefined;
    let last: Pass["last"];
    for (const [index, place] of places.entries()) {
      const pass: Pass = { mixture, x, place, lowered };
      current = pass;
      let output: Tensor;
      try {
        output = run(x);
      } finally {
        current = undefined;
      }
      last = pass.last;
      if (!last || last.output !== output)
        throw new Error(`${mixture.path} does not end in a linear module`);
      const weight = weights[index]!;
      activation = sumOf(activation, multiply(last.input, weight));
      const bank = mixture.banks.get(last.path);
      if (!bank) continue;
      const dropped = scope.dropout(last.input, dropout, `${last.path} ${index}`);
      low = sumOf(low, weigh(bank, lower(bank, dropped, scope), multiply(place, weight)));
    }
    const output = last!.base(activation!);
    return low ? add(raise(mixture.banks.get(last!.path)!, low, scope), output) : output;
  };

  return {
    name: "moe-lora",
    adapted: targets.map(({ path }) => path),
    ranks: targets.map((module) => rankUse("rank", rank, module)),
    parameters: [
      ...[...plain.values()].flatMap(({ a, b }) => [a, b]),
      ...[...mixtures.values()].flatMap(({ gate, banks }) => [
        gate,
        ...[...banks.values()].flatMap(({ a, b }) => [...a, ...b]),
      ]),
    ],
    replaces: new Map(),
    linear(path, x, base, scope) {
      if (current) return expertLinear(current, path, x, base, scope);
      const lora = plain.get(path);
      if (!lora) return base(x);
      const low = linear(scope.dropout(x, dropout, path), scope.parameter(lora.a));
      const scaled = multiply(low, constant(alpha / rank));
      return add(linear(scaled, scope.parameter(lora.b)), base(x));
    },
    module(path, x, run, scope) {
      const mixture = mixtures.get(path);
      if (!mixture) return run(x);
      const probabilities = softmax(linear(x, scope.parameter(mixture.gate)));
      const routing = route(probabilities, topK);
      if (balance > 0 && scope.training) reportRouting(path, probabilities, topK, scope);
      return mixed(mixture, x, run, routing, scope);
    },
    ...(balance > 0 && {
      readsWholeRows: true,
      auxiliaryLoss: (statistics) => balancing(statistics, [...mixtures.keys()], topK, balance),
    }),
    unmergeable: "experts of which each token has its own choice",
    saved: {
      config: {
        ...toPeftConfig(mixLoraLayout, { ...options, targets: names }, model, targets),
        routing_strategy: ROUTING_STRATEGY!,
      },
      read: (tensors) =>
        new Map(
          [...tensors].map(([key, tensor]): [string, AdapterTensor] => [modernKey(key), tensor]),
        ),
    },
  };
}

const sumOf = (sum: Tensor | undefined, term: Tensor): Tensor => (sum ? add(sum, term) : term);

/**
 * The names that the file says targets by, the same in every layer.
 * @throws TunesmithError (config) for what MixLoRA cannot be or its file cannot say
 */
function checkTargets(
  { targets, topK, experts }: MoeLoraSettings,
  model: ModelDescription,
  selected: readonly LinearModule[],
): string[] {
  const fault = (where: string, rule: string, seen: string, fix: string) =>
    new TunesmithError("config", { where, rule, seen, fix });
  if (topK > experts)
    throw fault(
      "method.topK",
      "a token is sent to at most all experts",
      `topK ${topK} of ${experts} experts`,
      `use ${experts} or less, or more experts`,
    );
  const shown = JSON.stringify(targets);
  const hasExperts = ({ path }: LinearModule) =>
    model.blocks.some(({ feedForward }) => path.startsWith(`${feedForward}.`));
  if (!selected.some(hasExperts))
    throw fault(
      "method.targets",
      "top-k routing has experts in the feed-forward",
      `${shown}, none of which is part of it`,
      "add a layer of the feed-forward, or use routing: dense",
    );
  const names = [...new Set(selected.map(({ path }) => path.split(".").at(-1)!))];
  const alike = selectTargets(model, { targets: names });
  if (alike.length !== selected.length)
    throw fault(
      "method.targets",
      "MixLoRA adapts layers of one name in every block",
      `${shown}, which leaves some of them out`,
      `use names, such as ${JSON.stringify(names)}`,
    );
  return names;
}

/** A key of MixLoRA's first files as its present ones have it. */
function modernKey(key: string): string {
  return key
    .replace(/^(mixlora\.layers\.\d+)\.gate\.weight$/, "$1.mlp.moe_gate.weight")
    .replace(
      /^(mixlora\.layers\.\d+)\.experts\.(\d+)\.(\w+)\.lora_/,
      (_, layer, expert, name) =>
        `${layer}.mlp.${MODERN_NAMES[name] ?? name}.experts.${expert}.lora_`,
    );
}
