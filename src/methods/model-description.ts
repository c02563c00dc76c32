// A model as methods see it, from its architecture.

import type { BoundArchitecture } from "../models/index.ts";
import type { ModelDescription } from "./method.ts";

/**
 * @param modelType `model_type` of its configuration
 * @param source where it came from, as adapter files name it
 */
export const modelDescription = (
  {
    dimensions,
    weights,
    blocks,
    outputPath,
    outputName,
    usualTargets,
    classifier,
    images,
  }: BoundArchitecture,
  modelType: unknown,
  source: string,
): ModelDescription => ({
  modelType: String(modelType),
  dimensions,
  weights,
  blocks,
  outputPath,
  outputName,
  usualTargets,
  ...(classifier && { classifier }),
  ...(images && { imageWeights: images.stack.weights }),
  source,
});
