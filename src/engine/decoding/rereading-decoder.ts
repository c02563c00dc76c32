// Continuing sequences without keys and values that were kept: under a method that averages over whole
// rows (UniPELT's gates), where every new token changes what was computed for all before it, and under
// one of two passes (X-LoRA), as PEFT does. Each call reads whole rows again; the work for an answer grows
// with the square of its length, and is exact.

import { createNetwork, type Network } from "../network.ts";
import type { DecodableModel, Decoder, DecoderOptions } from "./decoder-contract.ts";

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
  return {
    batch,
    get lengths() {
      return rows.map((row) => row.length);
    },
    async append(given) {
      given.forEach((tokens, b) => void rows[b]!.push(...tokens));
      const read = [...rows.keys()].filter((b) => given[b]!.length > 0);
      if (read.length === 0) return rows.map(() => undefined);
      const network = await networkOf(read);
      const logits = await network.nextLogits(read.map((b) => rows[b]!));
      let next = 0;
      return given.map((tokens) => {
        if (tokens.length === 0) return undefined;
        const start = next++ * vocabularySize;
        return logits.subarray(start, start + vocabularySize);
      });
    },
    truncate(row, length) {
      rows[row]!.length = Math.min(rows[row]!.length, length);
    },
    cacheBytes: () => 0,
    async reserve() {},
  };
}
