// Continuing sequences without keys and values that were kept: under a method that averages over whole
// rows (UniPELT's gates), where every new token changes what was computed for all before it, and under
// one of two passes (X-LoRA), as PEFT does. Each call reads whole rows again; the work for an answer grows
// with the square of its length, and is exact.

import { createNetwork, type Network } from "../network.ts";
import type { DecodableModel, Decoder, DecoderOptions } from "./decoder-contract.ts";
import { createImageIds } from "./image-ids.ts";

/** See `createDecoder`, which chooses. */
export function createRereadingDecoder(
  model: DecodableModel,
  { batch = 1, modelOf = async () => model }: DecoderOptions,
): Decoder {
  const networks = new WeakMap<DecodableModel, Network>();
  const networkOf = async (read: readonly number[]): Promise<Network> => {
    const own = await modelOf(read);
    const parameters = own.parameterSet;
    const network = networks.get(own) ?? createNetwork({ ...own, parameters, memory: "lean" });
    networks.set(own, network);
    return network;
  };
  const { vocabularySize } = model.architecture.dimensions;
  const rows: number[][] = Array.from({ length: batch }, () => []);
  const images = createImageIds(model.architecture);

  /** Rows with images are read one by one: their states are told apart by the order of their tokens. */
  const nextLogits = async (network: Network, read: readonly (readonly number[])[]) => {
    const states = read.map(images.states);
    const tokens = read.map(images.tokens);
    if (states.every(({ length }) => length === 0)) {
      const logits = await network.nextLogits(tokens);
      return read.map((_, i) => logits.subarray(i * vocabularySize, (i + 1) * vocabularySize));
    }
    const logits: Float32Array[] = [];
    for (const [i, row] of tokens.entries())
      logits.push(await network.nextLogits([row], states[i]));
    return logits;
  };
  return {
    batch,
    get lengths() {
      return rows.map((row) => row.length);
    },
    async append(given, states = []) {
      given.forEach((tokens, b) => void rows[b]!.push(...images.named(tokens, states[b])));
      const read = [...rows.keys()].filter((b) => given[b]!.length > 0);
      if (read.length === 0) return rows.map(() => undefined);
      const logits = await nextLogits(
        await networkOf(read),
        read.map((b) => rows[b]!),
      );
      let next = 0;
      return given.map((tokens) => (tokens.length === 0 ? undefined : logits[next++]));
    },
    truncate(row, length) {
      rows[row]!.length = Math.min(rows[row]!.length, length);
      images.keep(rows);
    },
    cacheBytes: () => 0,
    async reserve() {},
  };
}
