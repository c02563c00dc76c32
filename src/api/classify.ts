// Texts to verdicts: tokenised as a classifier's training data are, put side by side, judged together.

import { createTokenize } from "../data/index.ts";
import type { AdaptedModel } from "../engine/adapters/adapter-set.ts";
import type { EngineModel } from "../engine/load.ts";
import { paddedRows } from "../engine/rounded-length.ts";
import { TunesmithError } from "../errors.ts";
import { type ChatMessage, encodeChat, NO_IMAGES } from "../hub/index.ts";
import { type Verdict, verdictOf } from "../objectives/index.ts";

/** What a classifier judges: a text, or a conversation for the model's chat template. */
export type Classified = string | readonly ChatMessage[];

/** Texts that are judged at once. */
const ROWS = 8;

export interface JudgeOptions {
  /** The model for so many rows: itself, or with an adapter. Default: itself. */
  readonly modelFor?: (rows: number) => Promise<AdaptedModel>;
  /** Aborting ends it with the signal's reason. */
  readonly signal?: AbortSignal | undefined;
}

/**
 * @throws TunesmithError (config) for a model that continues texts, (data) for an empty text
 */
export async function classify(
  texts: readonly Classified[],
  engine: EngineModel,
  { modelFor = async () => engine, signal }: JudgeOptions = {},
): Promise<Verdict[]> {
  const encode = createTokenize({
    tokenizer: await engine.loadTokenizer(),
    encodeChat,
    loss: "all",
    ends: false,
  });
  const rows = texts.map(
    (text, index) =>
      encode(
        typeof text === "string"
          ? { kind: "text", text }
          : { kind: "conversation", messages: text },
        `text ${index + 1}`,
        engine.architecture.images && NO_IMAGES,
      ).inputIds,
  );
  const empty = rows.findIndex((row) => row.length === 0);
  if (empty >= 0) throw noTokens(empty);
  const verdicts: Verdict[] = [];
  for (let first = 0; first < rows.length; first += ROWS) {
    signal?.throwIfAborted();
    const own = rows.slice(first, first + ROWS);
    const model = await modelFor(own.length);
    const { classifier } = model.architecture;
    if (!classifier) throw continuesTexts();
    const { logits } = await model.forward(paddedRows(own));
    const count = classifier.labels.length;
    for (const index of own.keys())
      verdicts.push(
        verdictOf(classifier, logits.data.subarray(index * count, (index + 1) * count)),
      );
  }
  return verdicts;
}

const continuesTexts = () =>
  new TunesmithError("config", {
    where: "classify",
    rule: "texts are judged by a classifier",
    seen: "a model that continues texts",
    fix: "train one with objective: classification, and name its adapter",
  });

const noTokens = (index: number) =>
  new TunesmithError("data", {
    where: `text ${index + 1}`,
    rule: "a text has at least one token",
    seen: "none",
    fix: "leave it out",
  });
