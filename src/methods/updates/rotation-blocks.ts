// How OFT and BOFT say into how many blocks a layer's inputs are taken: by their number or their size.

import { TunesmithError } from "../../errors.ts";
import { count, derived } from "../option-schema.ts";

/** The option `blocks` of both. */
export const blocksKey = count
  .optional()
  .describe("Blocks a layer, instead of their size.")
  .meta(derived("inputs / blockSize"));

/**
 * The size of blocks; undefined where their number is given instead.
 * @param usual the size where neither is given
 * @throws TunesmithError (config) where both are
 */
export function blockSizeOf(
  {
    blocks,
    blockSize,
  }: { readonly blocks?: number | undefined; readonly blockSize?: number | undefined },
  usual: number,
): number | undefined {
  if (blocks === undefined) return blockSize ?? usual;
  if (blockSize === undefined) return undefined;
  throw new TunesmithError("config", {
    where: "method.blocks",
    rule: "blocks are given by their number or by their size",
    seen: `blocks: ${blocks} and blockSize: ${blockSize}`,
    fix: "leave one of them out",
  });
}
