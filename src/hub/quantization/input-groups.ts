// Which inputs of a packed weight share a scale, and whether its codes can be kept in memory by these groups:
// each input in turn, or sorted by group where they were quantised in the order of their importance.

import { blockSizeOf } from "./int4.ts";

/** How the codes of a weight lie in memory; see `Int4Tensor`. */
export interface KeptGroups {
  readonly groupSize: number;
  readonly blockSize: number;
  readonly order?: Int32Array;
}

/** The group of each input where a file does not say it. */
export const groupsInTurn = (inputs: number, groups: number): Int32Array =>
  Int32Array.from({ length: inputs }, (_, input) => Math.floor((input * groups) / inputs));

/**
 * Sorts inputs by group. That changes no product, as long as the inputs are read in the same order.
 * @param groupOf the group of each input
 * @returns why it cannot be, where groups differ in size or are of one that there is no block for
 */
export function keptGroups(groupOf: Int32Array, groups: number): KeptGroups | string {
  const inputs = groupOf.length;
  const sizes = new Int32Array(groups);
  for (const group of groupOf) sizes[group]!++;
  const groupSize = sizes[0]!;
  const isEven = sizes.every((size, group) =>
    group < groups - 1 ? size === groupSize : size > 0 && size <= groupSize,
  );
  if (!isEven) return "groups of different sizes";
  const blockSize = blockSizeOf(inputs, groupSize);
  if (blockSize === undefined)
    return `groups of ${groupSize} among ${inputs} inputs, no multiples of 16`;
  const order = Int32Array.from(groupOf.keys()).sort((a, b) => groupOf[a]! - groupOf[b]! || a - b);
  const isInTurn = order.every((input, place) => input === place);
  return { groupSize, blockSize, ...(!isInTurn && { order }) };
}
