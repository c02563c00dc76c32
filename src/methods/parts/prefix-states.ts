// Keys and values of virtual tokens, as attention takes them.

import type { Dimensions } from "../../models/index.ts";
import { reshape, slice, type Tensor, transpose } from "../../tensor/index.ts";
import type { PrefixStates } from "../method.ts";

/**
 * The keys and values that a layer's states stand for.
 * @param states [tokens, 2 · width]: keys, then values, each head by head
 */
export function prefixStates(
  states: Tensor,
  { keyValueHeads: heads, headSize }: Dimensions,
): PrefixStates {
  const width = heads * headSize;
  const perHead = (x: Tensor) =>
    transpose(reshape(x, [1, x.shape[0]!, heads, headSize]), [0, 2, 1, 3]);
  return {
    keys: perHead(slice(states, 1, 0, width)),
    values: perHead(slice(states, 1, width, 2 * width)),
  };
}
