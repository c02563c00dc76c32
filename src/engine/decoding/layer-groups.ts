// Which layers a decoder runs as one kernel: several, which spares crossings into the runtime, unless
// each would have memory of its own to widen its weights into.

/** Layers of one kernel: enough to spare most crossings into the runtime, few enough to compile fast. */
const GROUP_LAYERS = 6;

export interface GroupedLayers {
  readonly layers: number;
  /** Whether a kernel's run widens weights of a layer into scratch memory. */
  readonly needsScratch: (layer: number) => boolean;
  /** Whether a layer has to be the last of its group. */
  readonly ends: (layer: number) => boolean;
}

/** Runs of consecutive layers, each ending with the first of its layers that `ends` one. */
export function layerGroups({ layers, needsScratch, ends }: GroupedLayers): number[][] {
  const all = [...new Array(layers).keys()];
  const longest = all.some(needsScratch) ? 1 : GROUP_LAYERS;
  const runs: number[][] = [[]];
  for (const layer of all) {
    runs.at(-1)!.push(layer);
    if (ends(layer) && layer < layers - 1) runs.push([]);
  }
  return runs.flatMap((run) => evenParts(run, Math.ceil(run.length / longest)));
}

/** A list cut into parts that are as equal in length as they can be. */
function evenParts(list: readonly number[], count: number): number[][] {
  const bound = (i: number) => Math.round((list.length * i) / count);
  return Array.from({ length: count }, (_, i) => list.slice(bound(i), bound(i + 1)));
}
