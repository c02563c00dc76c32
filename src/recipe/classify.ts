// Texts judged by a model that is opened for them alone.

import { type Classified, classify } from "../api/index.ts";
import { openModel } from "../engine/load.ts";
import type { QuantizationType } from "../hub/index.ts";
import type { Verdict } from "../objectives/index.ts";
import type { Attention } from "./attention.ts";
import { fetchModel } from "./prepare.ts";

export interface ClassifyOptions extends Attention {
  /** Folder, GGUF file or hub id. */
  readonly model: string;
  /** Folder of an adapter that makes it a classifier. */
  readonly adapter?: string;
  /** Keeps linear weights as training over them has them. */
  readonly quantization?: QuantizationType;
}

/** @throws TunesmithError for files that do not fit each other, and models that continue texts */
export async function classifyTexts(
  texts: readonly Classified[],
  { model, adapter, quantization: type, ...attention }: ClassifyOptions,
): Promise<Verdict[]> {
  const engine = await openModel(await fetchModel(model, attention), {
    adapter,
    quantization: { type },
    signal: attention.signal,
    onWarning: attention.onWarning,
  });
  try {
    return await classify(texts, engine, { signal: attention.signal });
  } finally {
    await engine.dispose();
  }
}
