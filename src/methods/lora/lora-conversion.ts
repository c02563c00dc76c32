// An adapter that started as a part of its base, as an ordinary LoRA on the base as it was published:
// W - s B₀A₀ + s B A = W + s [B, -B₀] [A; A₀], of twice the rank. PEFT converts in the same way
// (`save_pretrained` with `path_initial_model_for_weight_conversion`).

import { TunesmithError } from "../../errors.ts";
import type { ParameterSpec, ParameterValues } from "../method.ts";
import type { LoraOptions } from "./lora-options.ts";

/**
 * Twice the rank, at the same scaling.
 * @throws TunesmithError (config) for rsLoRA with patterns, which PEFT cannot convert
 */
export function convertedOptions<
  Options extends Required<
    Pick<LoraOptions, "rank" | "alpha" | "rankPattern" | "alphaPattern" | "rslora" | "init">
  >,
>(options: Options): Options {
  const { rank, alpha, rankPattern, alphaPattern, rslora, init } = options;
  if (rslora && Object.keys({ ...rankPattern, ...alphaPattern }).length > 0)
    throw new TunesmithError("config", {
      where: "method.init",
      rule: "with rslora, an adapter that starts as a part of its base has one rank and one alpha",
      seen: `${JSON.stringify(init)} with ${Object.keys(rankPattern).length > 0 ? "rankPattern" : "alphaPattern"}`,
      fix: "leave out rslora, the patterns, or init",
    });
  const doubled = (pattern: Readonly<Record<string, number>>) =>
    Object.fromEntries(Object.entries(pattern).map(([key, value]) => [key, 2 * value]));
  return {
    ...options,
    rank: 2 * rank,
    alpha: alpha * (rslora ? Math.SQRT2 : 2),
    rankPattern: doubled(rankPattern),
    alphaPattern: doubled(alphaPattern),
    init: true,
  };
}

/** A below A₀ as [2 rank, in], B beside -B₀ as [out, 2 rank]. */
export function convertedTensors(
  { a, b }: { readonly a: ParameterSpec; readonly b: ParameterSpec },
  values: ParameterValues,
  initial: ParameterValues,
) {
  const [rank, inputSize] = a.shape as [number, number];
  const outputSize = b.shape[0]!;
  const tallA = new Float32Array(2 * rank * inputSize);
  tallA.set(values(a));
  tallA.set(initial(a), rank * inputSize);
  const wideB = new Float32Array(outputSize * 2 * rank);
  for (let out = 0; out < outputSize; out++) {
    const row = [out * rank, (out + 1) * rank] as const;
    wideB.set(values(b).subarray(...row), 2 * row[0]);
    wideB.set(
      initial(b)
        .subarray(...row)
        .map((x) => -x),
      2 * row[0] + rank,
    );
  }
  return [
    [a.key, { shape: [2 * rank, inputSize], data: tallA }],
    [b.key, { shape: [outputSize, 2 * rank], data: wideB }],
  ] as const;
}
