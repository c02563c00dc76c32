// SmolLM2-135M-Instruct in training: the same logits from the GGUF as from the weights that the reference
// libraries dequantised, and a LoRA run on real text that gains what PEFT's gains. Takes minutes, so on
// request only: TUNESMITH_SLOW=1 TUNESMITH_SMOLLM2=path/of/the.gguf (README.md).

import { existsSync, readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { describe, expect, it } from "vitest";
import { loadModel } from "../../src/index.ts";
import { arrayDifference } from "../../src/runtime/testing/array-difference.ts";
import { type LoraCase, runLora } from "./smollm2-lora.ts";
import { CASES } from "./stored-cases.ts";

const MINUTES = 60_000;
const path = process.env.TUNESMITH_SMOLLM2 ?? "";
const folder = join(dirname(path), "hf");
const reference = join(CASES, "smollm2", "lora.json");
const wanted = process.env.TUNESMITH_SLOW && path;

describe.runIf(wanted && existsSync(folder))(
  "SmolLM2's GGUF and its dequantised folder (need TUNESMITH_SLOW, TUNESMITH_SMOLLM2 and `real-model.py export`)",
  () => {
    it(
      "give equal logits",
      async () => {
        const inputIds = [Array.from({ length: 32 }, (_, i) => 17 + ((i * 7919) % 49135))];
        const logitsOf = async (reference: string) => {
          await using model = await loadModel(reference, { dtype: "float32" });
          return (await model.forward({ inputIds })).logits.data;
        };
        const [own, theirs] = [await logitsOf(path), await logitsOf(folder)];
        expect(arrayDifference(own, theirs)).toBeLessThan(1e-6);
      },
      10 * MINUTES,
    );
  },
);

const title =
  "SmolLM2 LoRA (needs TUNESMITH_SLOW, TUNESMITH_SMOLLM2 and lora.json of `real-model.py lora`)";
describe.runIf(wanted && existsSync(reference))(title, () => {
  it.each([
    // PEFT's own two seeds differ by 0.7 % of what they gain.
    { arithmetic: "float32", exactness: 1e-4, least: 0.97, most: 1.03 },
    // Rounding changes the loss itself and costs a part of the gain (92 % when decision 7 was made).
    { arithmetic: "int8", exactness: 0.02, least: 0.88, most: 0.97 },
  ] as const)(
    "lowers the held-out loss by the share of PEFT's gain that is known of $arithmetic",
    async ({ arithmetic, exactness, least, most }) => {
      const stored = JSON.parse(readFileSync(reference, "utf8")) as LoraCase;
      const own = await runLora(path, stored.method, stored.optimizer, { arithmetic });
      const [first] = stored.runs;
      // Before the first update chance has no part in it: B is zero.
      expect(arrayDifference([own.heldOut.before], [first!.heldOut.before])).toBeLessThan(1e-4);
      expect(arrayDifference([own.losses[0]!], [first!.losses[0]!])).toBeLessThan(exactness);

      const gains = stored.runs.map(({ heldOut }) => heldOut.before - heldOut.after);
      const gain = own.heldOut.before - own.heldOut.after;
      console.log({ arithmetic, gain, gainsOfPeft: gains, before: own.heldOut.before });
      const mean = gains.reduce((sum, each) => sum + each, 0) / gains.length;
      expect(gain / mean).toBeGreaterThan(least);
      expect(gain / mean).toBeLessThan(most);
    },
    40 * MINUTES,
  );
});
