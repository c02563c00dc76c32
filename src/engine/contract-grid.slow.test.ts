// Every method on every architecture: the checks of the contract (`contract.test.ts` has those that tell
// something), or the reason why there is nothing to check. Some twenty methods on some twenty
// models: TUNESMITH_SLOW=1 npx vitest run src/engine/contract-grid.slow.test.ts

import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, it } from "vitest";
import type { MethodOptions } from "../methods/index.ts";
import { contractBatches } from "./testing/contract-batches.ts";
import { expectLearning } from "./testing/contract-checks.ts";
import { ARCHITECTURES, openWith } from "./testing/contract-subjects.ts";
import { methodContract } from "./testing/method-contract.ts";
import { METHODS, type MethodEntry } from "./testing/method-entries.ts";
import { openTiny, type TinyModel } from "./testing/tiny-models.ts";

type MethodName = MethodOptions["name"];

/** What a method cannot do on some models, in words of its own error. */
interface Exception {
  readonly models: readonly TinyModel[];
  readonly reason: RegExp;
}

const BEHIND_WINDOWS: Exception = {
  models: ["mistral-window", "gemma2", "gemma3-text", "qwen3-moe"],
  reason: /every position sees the keys that are put in front/,
};

const EXCEPTIONS: Readonly<Partial<Record<MethodName, readonly Exception[]>>> = {
  prefix: [BEHIND_WINDOWS, { ...BEHIND_WINDOWS, models: ["phi3"] }],
  unipelt: [
    BEHIND_WINDOWS,
    // AdapterHub's LoRA knows its places by name.
    {
      models: ["chatglm", "falcon", "glm-130b", "gpt2", "gpt-neox", "phi3"],
      reason: /every target names a linear module of a layer that is not left out/,
    },
  ],
  "moe-lora": [
    {
      models: ["mixtral", "qwen2-moe-mixed", "qwen3-moe"],
      reason: /has experts there already/,
    },
  ],
  fourierft: [
    {
      models: ["qwen2-moe-mixed"],
      reason: /a layer has no more frequencies than its weight has numbers/,
    },
  ],
};

/** Methods whose first entry names modules that only LLaMA's kin have. */
const NAMES_TARGETS: ReadonlySet<MethodName> = new Set(["adalora", "boft"]);

/** Methods over trained adapters: what those are trained with, and how fast the method learns over them. */
const OVER_ADAPTERS: Readonly<
  Partial<Record<MethodName, { of: (name: string) => MethodOptions; learningRate: number }>>
> = {
  // Its shares are those of a text's tokens: where there is an encoder of images, it is left out.
  "x-lora": {
    of: () => ({ name: "lora", rank: 2, init: false, exclude: ".*(vision_model|connector).*" }),
    learningRate: 3e-2,
  },
  "adapter-fusion": {
    of: (adapterName) => ({ name: "adapter", reductionFactor: 8, adapterName }),
    learningRate: 1e-2,
  },
};

const folder = await mkdtemp(join(tmpdir(), "tunesmith-grid-"));
afterAll(() => rm(folder, { recursive: true }));

/** Two trained adapters of a model's own, as saved. */
async function adaptersOf(
  tiny: TinyModel,
  name: MethodName,
  of: (name: string) => MethodOptions,
): Promise<string[]> {
  const saved: string[] = [];
  for (const [seed, own] of ["first", "second"].entries()) {
    const model = await openTiny(tiny, { method: of(own), seed });
    await expectLearning(model, 3e-2, contractBatches(tiny).alone[seed]!);
    saved.push(join(folder, tiny, name, own));
    await model.saveAdapter(saved.at(-1)!);
    await model.dispose();
  }
  return saved;
}

/** A method's entry in the form that fits the model. */
async function entryFor(tiny: TinyModel, name: MethodName): Promise<MethodEntry> {
  // Scaled embeddings want larger steps of a prompt.
  if (name === "prompt" && tiny.startsWith("gemma"))
    return METHODS.prompt.find((entry) => entry.name === "prompt tuning from noise")!;
  const entry = METHODS[name][0]!;
  // A bias of keys that are not rotated has no effect, and its gradient is nothing but rounding.
  const hasIdleBias = name === "bitfit" && contractBatches(tiny).batch.pixelValues !== undefined;
  const over = OVER_ADAPTERS[name];
  const options = {
    ...entry.options,
    ...(hasIdleBias && { exclude: ["k_proj"] }),
    ...(NAMES_TARGETS.has(name) && { targets: "all-linear" }),
    ...(over && { adapters: await adaptersOf(tiny, name, over.of) }),
  };
  return { ...entry, ...(over && { learningRate: over.learningRate }), options } as MethodEntry;
}

const MODELS = Object.values(ARCHITECTURES).map(([first]) => first!);
const NAMES = Object.keys(METHODS) as MethodName[];
const isAsked = Boolean(process.env.TUNESMITH_SLOW);
const PAIRS = await Promise.all(
  (isAsked ? NAMES : []).flatMap((name) =>
    MODELS.map(async (tiny) => ({
      name,
      tiny,
      entry: await entryFor(tiny, name),
      exception: EXCEPTIONS[name]?.find(({ models }) => models.includes(tiny)),
    })),
  ),
);

describe.runIf(isAsked)("every pair", () => {
  describe.each(PAIRS)("$name on $tiny", ({ tiny, entry, exception }) => {
    if (!exception) methodContract(tiny, entry);
    else
      it("is refused, with the reason", async () => {
        await expect(openWith(tiny, entry)).rejects.toThrow(exception.reason);
      });
  });
});
