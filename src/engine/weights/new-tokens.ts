// A checkpoint seen with more tokens than its files have: a longer embedding, a longer output matrix
// and the tokenizer to them. Everything behind this reads them as any others, so that training, saving,
// merging and exporting know nothing of it.

import { join } from "node:path";
import {
  type AddedTokens,
  type Checkpoint,
  type CheckpointTensor,
  createTokenizer,
  encodeHalf,
  enlargeTokenizer,
  type HalfKind,
  type JsonObject,
  type TokenizerParts,
  writeFileAtomically,
  writeTokenizer,
} from "../../hub/index.ts";
import { architectureFor, type BoundArchitecture } from "../../models/index.ts";
import { sizeOf } from "../../tensor/index.ts";
import { storedName } from "./checkpoint-view.ts";

export interface NewTokensOptions extends AddedTokens {
  /** Rows of the embedding are rounded up to a multiple of it. Default 1. */
  readonly padToMultipleOf?: number | undefined;
}

/** Whether anything is asked for. */
export const asksForTokens = ({ padToMultipleOf = 1, ...tokens }: NewTokensOptions): boolean =>
  padToMultipleOf > 1 ||
  Object.values(tokens).some((each) => each !== undefined && each.length > 0);

/**
 * The checkpoint with the tokens, and with as many rows as the tokenizer then needs. A row that is new
 * is the mean of those that were there (Hewitt 2021, "Initializing New Word Embeddings for Pretrained
 * Language Models"); Transformers' `mean_resizing` draws it from a normal distribution around that mean
 * whose covariance is 10⁻⁹ of theirs. Rows that a file has to spare are left as they are.
 *
 * @throws TunesmithError (checkpoint) for a model without a tokenizer
 */
export async function withNewTokens(
  checkpoint: Checkpoint,
  { padToMultipleOf = 1, ...wanted }: NewTokensOptions,
): Promise<Checkpoint> {
  const { parts, roles, newIds, size } = enlargeTokenizer(await checkpoint.readTokenizer(), wanted);
  const { vocabularySize } = architectureOf(checkpoint).dimensions;
  const rows = Math.ceil(Math.max(vocabularySize, size) / padToMultipleOf) * padToMultipleOf;
  const ids = newIds.filter((id) => id !== roles.pad_token_id);
  return enlargedCheckpoint(checkpoint, { rows, ids, tokenizer: parts, roles, newRows: meanRow });
}

export interface Enlargement {
  /** Rows of the embedding. */
  readonly rows: number;
  /** See `NewTokens`. */
  readonly ids: readonly number[];
  /** Default: the checkpoint's own. */
  readonly tokenizer?: TokenizerParts | undefined;
  /** Ids by their keys in config.json and generation_config.json. */
  readonly roles?: Readonly<Record<string, number>>;
  /**
   * What stands in the new rows of the tensor of that name in the architecture: one row for all of them,
   * or every row. `old` are those that there are, [rows, width].
   */
  readonly newRows: (old: Float32Array, width: number, name: string) => Float32Array;
}

/** The checkpoint with so many rows in everything that has one for every token. */
export function enlargedCheckpoint(checkpoint: Checkpoint, wanted: Enlargement): Checkpoint {
  const { rows, ids, tokenizer, roles = {}, newRows } = wanted;
  const before = architectureOf(checkpoint);
  const { vocabularySize } = before.dimensions;
  const { config, generationConfig } = checkpoint;
  const grown = new Map<string, { readonly tensor: CheckpointTensor; readonly name: string }>();
  for (const name of rows === vocabularySize ? [] : perTokenNames(before)) {
    const stored = checkpoint.tensors.get(storedName(checkpoint, name, before.basePrefix));
    if (!stored) continue;
    const { location: _, ...rest } = stored;
    const dtype = isHalf(stored.dtype) ? stored.dtype : "F32";
    const tensor = { ...rest, dtype, shape: [rows, ...stored.shape.slice(1)] } as const;
    grown.set(stored.name, { tensor, name });
  }
  const read = async (stored: string, target: Float32Array) => {
    const { tensor, name } = grown.get(stored)!;
    const width = sizeOf(tensor.shape.slice(1));
    const old = target.subarray(0, vocabularySize * width);
    await checkpoint.readFloat32Into(stored, old);
    const added = newRows(old, width, name);
    for (let at = old.length; at < target.length; at += added.length) target.set(added, at);
  };
  const generation = generationConfig && {
    ...generationConfig,
    ...generationRoles(generationConfig, roles),
  };
  return {
    ...checkpoint,
    config: {
      ...config,
      vocab_size: rows,
      ...("padded_vocab_size" in config && { padded_vocab_size: rows }),
      ...roles,
    },
    ...(generation && { generationConfig: generation }),
    tensors: new Map([
      ...checkpoint.tensors,
      ...[...grown].map(([stored, { tensor }]) => [stored, tensor] as const),
    ]),
    newTokens: { ids, isGrown: rows > vocabularySize },
    readFloat32Into: (name, target) =>
      grown.has(name) ? read(name, target) : checkpoint.readFloat32Into(name, target),
    async readRawInto(name, target) {
      const found = grown.get(name);
      if (!found) return checkpoint.readRawInto(name, target);
      const data = new Float32Array(sizeOf(found.tensor.shape));
      await read(name, data);
      const halves = new Uint16Array(target.buffer, target.byteOffset, data.length);
      encodeHalf(data, found.tensor.dtype as HalfKind, halves);
    },
    ...(tokenizer && {
      loadTokenizer: async () => createTokenizer(tokenizer),
      readTokenizer: async () => tokenizer,
      async writeSideFiles(directory: string) {
        await checkpoint.writeSideFiles(directory);
        await writeTokenizer(directory, tokenizer);
        if (generation)
          await writeFileAtomically(
            join(directory, "generation_config.json"),
            `${JSON.stringify(generation, undefined, 2)}\n`,
          );
      },
    }),
  };
}

const architectureOf = ({ config, source }: Checkpoint): BoundArchitecture =>
  architectureFor(config, `${source}/config.json`);

const isHalf = (dtype: string): dtype is HalfKind => dtype === "F16" || dtype === "BF16";

/** The names of what has a row for every token: both matrices, and the bias of the output. */
const perTokenNames = ({ embeddingName, outputName, outputPath, classifier }: BoundArchitecture) =>
  new Set(classifier ? [embeddingName] : [embeddingName, outputName, `${outputPath}.bias`]);

/** Texts may end in several ways: a new one joins those that there are. */
function generationRoles(
  { eos_token_id: known }: JsonObject,
  roles: Readonly<Record<string, number>>,
): JsonObject {
  const { eos_token_id: end } = roles;
  if (end === undefined || known === undefined) return roles;
  return { ...roles, eos_token_id: [...new Set([end, ...[known].flat()])] };
}

/** The mean of rows of that width. */
export function meanRow(old: Float32Array, width: number): Float32Array {
  const sums = new Float64Array(width);
  for (let i = 0; i < old.length; i++) sums[i % width]! += old[i]!;
  return Float32Array.from(sums, (sum) => sum / (old.length / width));
}
