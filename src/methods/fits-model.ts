// What a method cannot do on some models, whatever its options: told when it is bound, before work starts.

import { type Fault, TunesmithError } from "../errors.ts";
import type { BoundMethod, ModelDescription } from "./method.ts";

/** @throws TunesmithError (config) for a method that the model has no place for */
export function checkFits(method: BoundMethod, model: ModelDescription): void {
  const { slidingWindow, maximumPositions } = model.dimensions;
  const faults: Fault[] = [];
  if (method.prefix && slidingWindow !== undefined && slidingWindow < maximumPositions)
    faults.push({
      where: `method.name (${method.name})`,
      rule: "every position sees the keys that are put in front",
      seen: `a ${model.modelType} whose positions see ${slidingWindow} at most, in layers with a window`,
      fix: 'use prompt or p-tuning, whose virtual tokens are positions, or a "sliding_window" of max_position_embeddings in config.json where no text is longer than the window',
    });
  const routed = model.blocks.find(({ experts }) => experts !== undefined);
  if (method.module && routed)
    faults.push({
      where: `method.name (${method.name})`,
      rule: "every feed-forward is one module, which gets experts of its own",
      seen: `${routed.experts}: a ${model.modelType} has experts there already`,
      fix: "use lora on attention or on the experts, or freeze with parts: routers or experts",
    });
  const looking = model.imageWeights && method.adapted && pathOfImages(method.adapted, model);
  const readsTexts = method.auxiliaryLoss || method.readsFirstPass || method.mixesPositions;
  if (looking !== undefined && readsTexts) faults.push(withoutTexts(method.name, looking));
  if (faults.length > 0) throw new TunesmithError("config", faults);
}

/** The first of some module paths that is of the encoder of images. */
export function pathOfImages(
  paths: Iterable<string>,
  { imageWeights = [] }: Pick<ModelDescription, "imageWeights">,
): string | undefined {
  const own = new Set(imageWeights.map(({ name }) => name));
  return [...paths].find((path) => own.has(`${path}.weight`));
}

/** What a method that looks at whole texts cannot adapt. */
export const withoutTexts = (method: string, path: string): Fault => ({
  where: `method.targets (${method})`,
  rule: "what looks at all positions of a text adapts the decoder, which reads texts",
  seen: `${path}, of the encoder of images`,
  fix: 'name the decoder\'s layers alone, such as targets: ".*text_model.*_proj", or use lora',
});
