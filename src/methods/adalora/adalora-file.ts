// AdaLoRA's file as PEFT writes it: the triplets that were kept alone, and in the configuration which
// these were.

import type { AdapterTensor } from "../../hub/index.ts";
import type { ModelDescription, ParameterSpec, ParameterValues, SavedAdapter } from "../method.ts";
import { toPeftConfig } from "../peft-format.ts";
import { type AdaloraModule, PLAN, type ScoredParameter } from "./adalora-modules.ts";
import { type AdaloraSettings, adaloraLayout, NO_PLAN } from "./adalora-options.ts";

/** A module's name in PEFT's `rank_pattern`. */
export const patternKey = (path: string): string => `${path}.lora_E`;

/** A file has the kept triplets alone, and its config says which these were. */
export function savedAdapter(
  options: AdaloraSettings,
  model: ModelDescription,
  modules: readonly AdaloraModule[],
  replaced: readonly ParameterSpec[],
): SavedAdapter {
  const { rankPattern } = options;
  const config = toPeftConfig(adaloraLayout, options, model, modules);
  const keptRanks = (module: AdaloraModule, values: ParameterValues): number[] => {
    const all = Array.from({ length: module.rank }, (_, r) => r);
    return rankPattern ? all : all.filter((r) => values(module.kept)[r] === 1);
  };
  const pattern = (values: ParameterValues) =>
    Object.fromEntries(
      modules.map((module) => [
        patternKey(module.path),
        [...values(module.kept)].map((kept) => kept === 1),
      ]),
    );
  return {
    config(values) {
      if (rankPattern) return config;
      const ranks = pattern(values);
      const isPruned = Object.values(ranks).flat().includes(false);
      const plan = savedPlan(options, values);
      return { ...config, ...plan, rank_pattern: isPruned ? ranks : null };
    },
    tensors: (values) =>
      new Map<string, AdapterTensor>([
        ...modules.flatMap((module): [string, AdapterTensor][] => {
          const { a, b, e, rank, inputSize, outputSize } = module;
          const ranks = keptRanks(module, values);
          const data = ({ spec }: ScoredParameter) =>
            rank > 0 ? values(spec) : new Float32Array(0);
          const columns = Array.from({ length: outputSize }, (_, out) =>
            ranks.map((r) => data(b)[out * rank + r]!),
          );
          return [
            [
              a.spec.key,
              { shape: [ranks.length, inputSize], data: rowsOf(data(a), ranks, inputSize) },
            ],
            [
              b.spec.key,
              { shape: [outputSize, ranks.length], data: Float32Array.from(columns.flat()) },
            ],
            [e.spec.key, { shape: [ranks.length, 1], data: rowsOf(data(e), ranks, 1) }],
          ];
        }),
        ...replaced.map((spec): [string, AdapterTensor] => [
          spec.key,
          { shape: spec.shape, data: values(spec) },
        ]),
      ]),
    read: (tensors) => new Map([...tensors].filter(([, { data }]) => data.length > 0)),
  };
}

/** The steps of the run's plan, else of the options'; PEFT refuses steps that leave none for pruning. */
function savedPlan(options: AdaloraSettings, values: ParameterValues) {
  const { totalSteps, initialSteps = 0, finalSteps = 0 } = options;
  const [total, initial, final] = values(PLAN);
  if (total) return { total_step: total, tinit: initial!, tfinal: final! };
  if (totalSteps === undefined) return { total_step: NO_PLAN, tinit: 0, tfinal: 0 };
  return { total_step: totalSteps, tinit: initialSteps, tfinal: finalSteps };
}

function rowsOf(data: Float32Array, rows: readonly number[], width: number): Float32Array {
  const chosen = new Float32Array(rows.length * width);
  rows.forEach((row, i) => {
    chosen.set(data.subarray(row * width, (row + 1) * width), i * width);
  });
  return chosen;
}
