// Prompt tuning (Lester et al. 2021): trained embeddings of virtual tokens in front of every text, and
// nothing else. Names and file format are those of PEFT's `PromptTuningConfig`.

import { z } from "zod";
import { TunesmithError } from "../../errors.ts";
import type { JsonObject } from "../../hub/index.ts";
import type { BoundMethod, MethodDefinition, ModelDescription, ParameterSpec } from "../method.ts";
import { completeOptions, derived } from "../option-schema.ts";
import { normalSpec } from "../parts/initial-values.ts";
import { fromPeftConfig, type PeftLayout } from "../peft-format.ts";
import {
  checkVirtualTokens,
  ONLY_PROMPT,
  PROMPT_KEY,
  promptConfig,
  virtualTokens,
} from "./prompt-learning.ts";

/** How PEFT calls the ways to start. */
const PEFT_INITS = { vocabulary: "SAMPLE_VOCAB", text: "TEXT", random: "RANDOM" } as const;
type Init = keyof typeof PEFT_INITS;

const promptSchema = z.strictObject({
  name: z
    .literal("prompt")
    .describe("Trained embeddings of virtual tokens in front of every text (Lester et al. 2021)."),
  virtualTokens,
  init: z
    .enum(Object.keys(PEFT_INITS) as [Init, ...Init[]])
    .optional()
    .describe(
      "How they start: as tokens drawn from the vocabulary, as those of initText, or random.",
    )
    .meta(derived("text where there is an initText, else vocabulary")),
  initText: z
    .string()
    .min(1)
    .optional()
    .describe("The text whose tokens they start as, repeated or cut to their number.")
    .meta(derived("none")),
});

export type PromptOptions = z.input<typeof promptSchema>;

const layout: PeftLayout = {
  type: "PROMPT_TUNING",
  keys: {
    virtualTokens: "num_virtual_tokens",
    init: "prompt_tuning_init",
    initText: "prompt_tuning_init_text",
  },
  unused: { tokenizer_kwargs: null, tokenizer_name_or_path: null },
  only: ONLY_PROMPT,
};

/** @throws TunesmithError (config) for options that contradict each other or the model */
function bindPrompt(given: PromptOptions, model: ModelDescription): BoundMethod {
  const { virtualTokens: count, initText, ...rest } = completeOptions(promptSchema, given);
  const init = rest.init ?? (initText === undefined ? "vocabulary" : "text");
  checkVirtualTokens(count, model);
  if ((init === "text") !== (initText !== undefined))
    throw new TunesmithError("config", {
      where: "method.initText",
      rule: 'a text to start from goes with init "text", and with no other',
      seen: initText === undefined ? "no initText" : `initText with init "${init}"`,
      fix: initText === undefined ? "write the text as initText" : "leave init or initText out",
    });
  const { hiddenSize: width, heads } = model.dimensions;
  const prompt = startingAs(init, initText, [count, width], model);
  const config = promptConfig(
    layout,
    { virtualTokens: count, init: PEFT_INITS[init], initText },
    model,
    { width, heads },
  );
  return {
    name: "prompt",
    parameters: [prompt],
    replaces: new Map(),
    virtualTokens: { count, states: (scope) => scope.parameter(prompt) },
    unmergeable: "virtual tokens, which no weight can stand for",
    // PEFT asks for a tokenizer with a text, although it does not use it on a saved prompt.
    saved: { config: { ...config, tokenizer_name_or_path: init === "text" ? model.source : null } },
  };
}

function startingAs(
  init: Init,
  text: string | undefined,
  shape: readonly [count: number, width: number],
  { dimensions }: ModelDescription,
): ParameterSpec {
  if (init === "random") return normalSpec(PROMPT_KEY, shape);
  const [count] = shape;
  return {
    key: PROMPT_KEY,
    shape,
    async initial(random, _, vocabulary) {
      const { below } = random.fork(PROMPT_KEY);
      const ids =
        text === undefined
          ? Array.from({ length: count }, () => below(dimensions.vocabularySize))
          : repeated(await vocabulary.ids(text), count);
      return vocabulary.embeddings(ids);
    },
  };
}

/** `ids` over and over until there are `count`. */
function repeated(ids: readonly number[], count: number): number[] {
  if (ids.length > 0) return Array.from({ length: count }, (_, i) => ids[i % ids.length]!);
  throw new TunesmithError("config", {
    where: "method.initText",
    rule: "has at least one token",
    seen: "a text that the tokenizer makes nothing of",
    fix: "write a text that describes the task",
  });
}

/** @throws TunesmithError (checkpoint) for settings that are not implemented */
function fromPromptConfig(config: JsonObject, folder: string): PromptOptions {
  const named = Object.entries(PEFT_INITS).find(([, name]) => name === config.prompt_tuning_init);
  const init = named?.[0] ?? config.prompt_tuning_init ?? null;
  const initText = init === "text" ? config.prompt_tuning_init_text! : null;
  const known = { ...config, prompt_tuning_init: init, prompt_tuning_init_text: initText };
  return fromPeftConfig(promptSchema, layout, known, folder);
}

export const prompt = {
  schema: promptSchema,
  learningRate: 3e-2,
  describe: ({ virtualTokens: count = 20 }) => `prompt tuning, ${count} virtual tokens`,
  bind: bindPrompt,
  peft: { type: layout.type, options: fromPromptConfig },
} satisfies MethodDefinition<PromptOptions>;
