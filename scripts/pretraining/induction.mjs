/**
 * First weights that can already copy. The few million tokens of pretraining are too few for attention heads to find out
 * by themselves how to continue a sequence that they have seen before (induction heads: Elhage et al. 2021, "A
 * Mathematical Framework for Transformer Circuits"), so the first two layers start with that circuit in place:
 *
 * 1. Embeddings share a constant direction. A head of layer 0 reads it into queries and keys whose rotary phases differ by
 *    one position: it attends to the token before. What it sees there, it writes into a subspace of its own.
 * 2. Heads of layer 1 compare the current token with that subspace: they attend to what followed the same token earlier,
 *    and copy it to where the output embedding reads it.
 *
 * Everything else is random, and training is free to change all of it.
 */

/** How sharply the layer-0 head prefers the token before: the squared length of its queries. */
const previousTokenSharpness = 40;
/** Scale of queries and keys of the layer-1 heads, and of what they write. */
const matchScale = 3;
const copyScale = 1.5;
/** Rotary pairs that turn at most this much a position (radians) compare content at any distance. */
const slowRotation = 0.03;
/** Rotary pairs that tell positions apart. */
const fastPairs = 6;

/**
 * Puts the circuit into freshly initialised weights, in place.
 *
 * @param {Record<string, { shape: number[], data: Float32Array }>} tensors by checkpoint name
 * @param {Record<string, any>} config the model's `config.json`
 * @param {number} deviation standard deviation of an embedding's random part
 * @param {import("./random.mjs").Random} random
 */
export function installInduction(tensors, config, deviation, random) {
  const { hidden_size: hidden, head_dim: size, num_key_value_heads: groups } = config;
  const headsPerGroup = config.num_attention_heads / groups;
  const half = size / 2;
  const frequencies = Array.from({ length: half }, (_, i) => config.rope_theta ** (-i / half));
  const [constant, ...basis] = orthonormal(1 + (2 + groups) * size, hidden, random);
  const seen = basis.slice(0, size);
  const written = basis.slice(size, 2 * size);
  const weight = (layer, name) => tensors[`model.layers.${layer}.self_attn.${name}.weight`];

  const embeddings = tensors["model.embed_tokens.weight"];
  addConstant(embeddings, constant, deviation * Math.sqrt(hidden));
  // Normalised, an embedding is half constant and half content: this long along the constant, this large a coordinate.
  const constantLength = Math.sqrt(hidden / 2);
  const contentSize = Math.SQRT1_2;

  const reach = Math.sqrt(previousTokenSharpness) / constantLength;
  clearRows(weight(0, "q_proj"), 0, size);
  clearRows(weight(0, "k_proj"), 0, size);
  for (let pair = 0; pair < fastPairs; pair++) {
    const turn = frequencies[pair];
    setRow(weight(0, "q_proj"), pair, constant, reach);
    setRow(weight(0, "k_proj"), pair, constant, reach * Math.cos(turn));
    setRow(weight(0, "k_proj"), pair + half, constant, reach * Math.sin(turn));
  }
  // What is written is half as long as the content of an embedding.
  const contentLength = deviation * Math.sqrt(hidden);
  const seenLength = contentSize * Math.sqrt(size);
  const writeScale = (0.5 * contentLength) / seenLength;
  for (let i = 0; i < size; i++) {
    setRow(weight(0, "v_proj"), i, seen[i], 1);
    setColumn(weight(0, "o_proj"), i, written[i], writeScale);
  }

  const residualLength = Math.hypot(Math.SQRT2 * contentLength, 0.5 * contentLength);
  const normalised = Math.sqrt(hidden) / residualLength;
  const slow = frequencies.flatMap((turn, pair) =>
    turn < slowRotation ? [pair, pair + half] : [],
  );
  for (let group = 0; group < groups; group++) {
    const head = group * headsPerGroup;
    const compared = random.shuffle([...seen.keys()]).slice(0, slow.length);
    clearRows(weight(1, "q_proj"), head * size, size);
    clearRows(weight(1, "k_proj"), group * size, size);
    slow.forEach((row, i) => {
      const query = (matchScale * contentSize) / (normalised * deviation);
      const key = matchScale / (normalised * writeScale);
      setRow(weight(1, "q_proj"), head * size + row, seen[compared[i]], query);
      setRow(weight(1, "k_proj"), group * size + row, written[compared[i]], key);
    });
    const copied = basis.slice((2 + group) * size, (3 + group) * size);
    for (let i = 0; i < size; i++) {
      setRow(weight(1, "v_proj"), group * size + i, copied[i], 1);
      setColumn(weight(1, "o_proj"), head * size + i, copied[i], copyScale);
    }
  }
}

/** `count` random unit vectors at right angles (Gram-Schmidt). */
function orthonormal(count, length, random) {
  const vectors = [];
  while (vectors.length < count) {
    const vector = Float64Array.from({ length }, () => random.normal());
    for (const other of vectors) {
      const overlap = dot(vector, other);
      for (let i = 0; i < length; i++) vector[i] -= overlap * other[i];
    }
    const norm = Math.sqrt(dot(vector, vector));
    vectors.push(vector.map((entry) => entry / norm));
  }
  return vectors;
}

/** Replaces each row's part along a direction by the same length. */
function addConstant({ shape: [rows, columns], data }, direction, length) {
  for (let row = 0; row < rows; row++) {
    const entries = data.subarray(row * columns, (row + 1) * columns);
    const change = length - dot(entries, direction);
    for (let i = 0; i < columns; i++) entries[i] += change * direction[i];
  }
}

function clearRows({ shape: [, columns], data }, start, count) {
  data.fill(0, start * columns, (start + count) * columns);
}

function setRow({ shape: [, columns], data }, row, vector, scale) {
  for (let i = 0; i < columns; i++) data[row * columns + i] = scale * vector[i];
}

function setColumn({ shape: [rows, columns], data }, column, vector, scale) {
  for (let i = 0; i < rows; i++) data[i * columns + column] = scale * vector[i];
}

function dot(a, b) {
  let sum = 0;
  for (let i = 0; i < a.length; i++) sum += a[i] * b[i];
  return sum;
}
