// A checkpoint seen as a classifier's: one that continues texts gets a matrix of labels that nobody has
// trained yet, as Transformers gives it one. Everything behind this reads it as any other weight.

import { TunesmithError } from "../../errors.ts";
import type { Adapter, Checkpoint } from "../../hub/index.ts";
import {
  architectureFor,
  type Classifier,
  classifierConfig,
  classifierKeys,
  classifierOf,
  readClassifier,
  SCORE_WEIGHT,
  unnamedLabels,
} from "../../models/index.ts";
import { createRandom } from "../../runtime/random.ts";

/** Transformers' standard deviation of new weights, where a config names none. */
const USUAL_DEVIATION = 0.02;

/**
 * @param seed of the new matrix's values, normal with the config's `initializer_range`
 * @throws TunesmithError (config) for a checkpoint that is a classifier of other labels
 */
export async function asClassifier(
  checkpoint: Checkpoint,
  classifier: Classifier,
  seed: number,
): Promise<Checkpoint> {
  const { config, source } = checkpoint;
  const own = readClassifier(config, `${source}/config.json`);
  if (own) {
    checkSame(own, classifier, source);
    return { ...checkpoint, config: { ...config, ...classifierKeys(classifier) } };
  }
  const { hiddenSize } = architectureFor(config, `${source}/config.json`).dimensions;
  const { initializer_range: range } = config;
  const shape = [classifier.labels.length, hiddenSize];
  const deviation = typeof range === "number" ? range : USUAL_DEVIATION;
  return {
    ...checkpoint,
    config: {
      ...classifierConfig(config, classifier),
      pad_token_id: config.pad_token_id ?? (await paddingOf(checkpoint)),
    },
    tensors: new Map([
      ...checkpoint.tensors,
      [SCORE_WEIGHT, { name: SCORE_WEIGHT, shape, dtype: "F32" }],
    ]),
    async readFloat32Into(name, target) {
      if (name !== SCORE_WEIGHT) return checkpoint.readFloat32Into(name, target);
      const random = createRandom(seed).fork(SCORE_WEIGHT);
      for (let i = 0; i < target.length; i++) target[i] = deviation * random.normal();
    },
  };
}

/** What Transformers would be told to pad with; null for a model whose files have no tokenizer. */
async function paddingOf(checkpoint: Checkpoint): Promise<number | null> {
  const tokenizer = await checkpoint.loadTokenizer().catch(() => undefined);
  return tokenizer?.padTokenId ?? tokenizer?.eosTokenId ?? null;
}

/** Labels that nobody named take any names. */
function checkSame(own: Classifier, wanted: Classifier, source: string): void {
  const isUnnamed = own.labels.join() === unnamedLabels(own.labels.length).join();
  const sameNames = isUnnamed
    ? own.labels.length === wanted.labels.length
    : own.labels.join() === wanted.labels.join();
  if (sameNames) return;
  throw new TunesmithError("config", {
    where: `${source}: labels`,
    rule: "a classifier keeps the labels that it was made with",
    seen: `${wanted.labels.join(", ")} instead of ${own.labels.join(", ")}`,
    fix: "leave the labels out, or start from the model that continues texts",
  });
}

/**
 * The classifier that an adapter was trained with, undefined for one of a model that continues texts.
 * PEFT keeps no names of labels; here they lie beside the adapter.
 */
export function classifierOfAdapter(
  { config, tensors, labels }: Adapter,
  folder: string,
): Classifier | undefined {
  if (config.task_type !== "SEQ_CLS") return undefined;
  const rows = tensors.get(`base_model.model.${SCORE_WEIGHT}`)?.shape[0];
  return classifierOf(labels ?? { num_labels: rows }, `${folder}/labels.json`);
}
