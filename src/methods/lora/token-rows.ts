// Single rows of the embedding, trained as they are: those of new tokens, say. The output module of a
// checkpoint that ties it to the embedding follows. Names and file are those of PEFT's
// `trainable_token_indices`: the file has the new rows, not their difference from the old ones.

import { nearest, TunesmithError } from "../../errors.ts";
import {
  add,
  constant,
  constantTensor,
  gatherRows,
  greaterOrEqual,
  linear,
  matmul,
  multiply,
  reshape,
  scatterRows,
  subtract,
  sum,
  type Tensor,
  toFloat,
  transpose,
} from "../../tensor/index.ts";
import type { MethodScope, ModelDescription, ParameterSpec, ParameterValues } from "../method.ts";

/** Ids of tokens whose embeddings are trained, or ids by the module that has the rows. */
export type TrainableTokens = readonly number[] | Readonly<Record<string, readonly number[]>>;

interface Rows {
  readonly ids: readonly number[];
  /** [ids.length, hidden] */
  readonly spec: ParameterSpec;
}

export interface TokenRows {
  readonly parameters: readonly ParameterSpec[];
  /** The tokens of each module that has such rows, by its path. */
  readonly ids: ReadonlyMap<string, readonly number[]>;
  /** Whether the output's rows are those of the embedding. */
  readonly isShared: boolean;
  /** Embedded tokens [rows, hidden], those of trained tokens put in the place of the old. */
  embed(x: Tensor, scope: MethodScope): Tensor;
  /** Logits [rows, vocabulary] of `x`, made by the rows as they are now. */
  output(x: Tensor, logits: Tensor, scope: MethodScope): Tensor;
  /** Puts the rows into the weight of a module. */
  mergeInto(use: string, data: Float32Array, values: ParameterValues): void;
}

/** @throws TunesmithError (config) for modules without token rows and ids outside of the vocabulary */
export function tokenRows(model: ModelDescription, tokens: TrainableTokens): TokenRows {
  const table = model.weights.find(({ role }) => role === "embedding")!;
  const hiddenSize = table.shape[1]!;
  const embeddingPath = table.name.replace(/\.weight$/, "");
  const tied = model.outputName === table.name;
  const byPath = idsByPath(tokens, [embeddingPath, model.outputPath], table.shape[0]!);

  const rowsOf = (path: string, weight: string): Rows | undefined => {
    const ids = byPath.get(path);
    if (!ids) return undefined;
    const spec: ParameterSpec = {
      key: `base_model.model.${path}.token_adapter.trainable_tokens_delta`,
      shape: [ids.length, hiddenSize],
      async initial(_random, base) {
        const all = await base(weight);
        const rows = new Float32Array(ids.length * hiddenSize);
        ids.forEach((id, i) => {
          rows.set(all.subarray(id * hiddenSize, (id + 1) * hiddenSize), i * hiddenSize);
        });
        return rows;
      },
    };
    return { ids, spec };
  };
  const embedding = rowsOf(embeddingPath, table.name);
  const own = rowsOf(model.outputPath, model.outputName);
  // PEFT ties the output's rows too, unless other tokens are named for it.
  const isShared =
    tied && embedding !== undefined && (!own || own.ids.join() === embedding.ids.join());
  const output = isShared ? embedding : own;
  const all = [...new Set([embedding, output])].filter((rows) => rows !== undefined);

  return {
    parameters: all.map(({ spec }) => spec),
    isShared,
    ids: new Map([
      ...(embedding ? [[embeddingPath, embedding.ids] as const] : []),
      ...(output ? [[model.outputPath, output.ids] as const] : []),
    ]),
    embed: (x, scope) =>
      embedding ? replaceRows(x, embedding, scope, model.dimensions.embeddingScale) : x,
    output: (x, logits, scope) =>
      output ? replaceColumns(x, logits, output, scope, `${model.outputPath}.weight`) : logits,
    mergeInto(use, data, values) {
      const rows = use === table.name ? embedding : undefined;
      const merged = use === `${model.outputPath}.weight` ? output : rows;
      if (!merged) return;
      const own = values(merged.spec);
      merged.ids.forEach((id, i) => {
        data.set(own.subarray(i * hiddenSize, (i + 1) * hiddenSize), id * hiddenSize);
      });
    },
  };
}

function replaceRows(x: Tensor, { ids, spec }: Rows, scope: MethodScope, scale = 1): Tensor {
  const count = scope.batch * scope.sequence;
  const given = reshape(scope.tokenIds(), [count, 1]);
  const trained = constantTensor(BigInt64Array.from(ids, BigInt), [1, ids.length]);
  // 1 where a position holds a trained token, [rows, ids]: neither greater nor less.
  const isToken = multiply(
    toFloat(greaterOrEqual(given, trained)),
    toFloat(greaterOrEqual(trained, given)),
  );
  const kept = subtract(constant(1), sum(isToken, [1]));
  return add(multiply(x, kept), matmul(isToken, scope.parameter(spec), { scale }));
}

function replaceColumns(
  x: Tensor,
  logits: Tensor,
  { ids, spec }: Rows,
  scope: MethodScope,
  use: string,
): Tensor {
  const indices = constantTensor(BigInt64Array.from(ids, BigInt), [ids.length]);
  const change = subtract(scope.parameter(spec), gatherRows(scope.weight(use), indices));
  const columns = transpose(linear(x, change), [1, 0]);
  return add(logits, transpose(scatterRows(columns, indices, logits.shape[1]!), [1, 0]));
}

/** @throws TunesmithError (config) with everything that is wrong */
function idsByPath(
  tokens: TrainableTokens,
  paths: readonly [embedding: string, output: string],
  vocabularySize: number,
): Map<string, readonly number[]> {
  const isList = (value: TrainableTokens): value is readonly number[] => Array.isArray(value);
  const named = isList(tokens) ? { [paths[0]]: tokens } : tokens;
  const found = new Map<string, readonly number[]>();
  const faults = Object.entries(named).flatMap(([name, ids]) => {
    const where = isList(tokens) ? "method.trainableTokens" : `method.trainableTokens.${name}`;
    const path = paths.find((one) => one === name || one.endsWith(`.${name}`));
    if (!path)
      return {
        where,
        rule: "names a module that has a row for every token",
        seen: JSON.stringify(name),
        fix: `nearest is ${JSON.stringify(
          nearest(
            name,
            paths.map((one) => one.split(".").at(-1)!),
          ) ?? paths[0],
        )}`,
      };
    found.set(path, ids);
    const foreign = ids.filter((id) => !Number.isInteger(id) || id < 0 || id >= vocabularySize);
    const isSound = ids.length > 0 && foreign.length === 0 && new Set(ids).size === ids.length;
    if (isSound) return [];
    return {
      where,
      rule: `lists token ids from 0 to ${vocabularySize - 1}, each once`,
      seen: foreign.length > 0 ? foreign.join(", ") : `[${ids.join(", ")}]`,
      fix: "use ids that the tokenizer has, and leave the option out for none",
    };
  });
  if (faults.length > 0) throw new TunesmithError("config", faults);
  return found;
}
