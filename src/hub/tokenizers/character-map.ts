// SentencePiece's `precompiled_charsmap`: which sequences of bytes a text's normal form has others for (its
// `nmt_nfkc` rules), as a trie in a double array (darts-clone's units) and the replacements behind it.

/** The longest sequence of a map that bytes begin with, and what stands for it. */
export interface Replacement {
  readonly length: number;
  readonly bytes: Uint8Array;
}

/** Looks up what bytes from `start` on begin with. */
export type CharacterMap = (bytes: Uint8Array, start: number) => Replacement | undefined;

const offsetOf = (unit: number) => (unit >>> 10) << ((unit & 0x200) >>> 6);
/** A unit's label; of one that holds a value, no byte. */
const labelOf = (unit: number) => unit & 0x800000ff;
const hasPlace = (unit: number) => ((unit >>> 8) & 1) === 1;
const placeOf = (unit: number) => unit & 0x7fffffff;

/** @throws RangeError for a map that is cut off */
export function readCharacterMap(map: Uint8Array): CharacterMap {
  if (map.length === 0) return () => undefined;
  const view = new DataView(map.buffer, map.byteOffset, map.length);
  const size = view.getUint32(0, true);
  const units = Uint32Array.from({ length: size / 4 }, (_, i) => view.getUint32(4 + 4 * i, true));
  const replacements = map.subarray(4 + size);
  return (bytes, start) => {
    let node = offsetOf(units[0]!);
    let found: Replacement | undefined;
    for (let at = start; at < bytes.length; at++) {
      node ^= bytes[at]!;
      const unit = units[node];
      if (unit === undefined || labelOf(unit) !== bytes[at]) break;
      node ^= offsetOf(unit);
      if (!hasPlace(unit)) continue;
      const from = placeOf(units[node]!);
      found = {
        length: at + 1 - start,
        bytes: replacements.subarray(from, replacements.indexOf(0, from)),
      };
    }
    return found;
  };
}
