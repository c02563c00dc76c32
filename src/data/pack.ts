// Best-fit decreasing packing: which samples share a row. No sample is split or cut, so a packed row
// trains on the very tokens its samples would train on alone.

/**
 * Puts items into as few rows as the heuristic finds: the longest first, each into the fullest row that
 * still has room. Equal lengths keep the order of `items`, which is how a shuffle varies the rows.
 *
 * @param items indices into `lengths`
 * @param lengths each at most `capacity`
 * @returns the items of each row
 */
export function packBestFit(
  items: readonly number[],
  lengths: ArrayLike<number>,
  capacity: number,
): number[][] {
  const sorted = [...items].sort((a, b) => lengths[b]! - lengths[a]!);
  const rows: number[][] = [];
  const open = createOpenRows(capacity);
  for (const item of sorted) {
    const length = lengths[item]!;
    if (length > capacity)
      throw new RangeError(
        `packing: a sample of ${length} tokens does not fit rows of ${capacity}`,
      );
    const found = open.takeTightest(length);
    const row = found?.row ?? rows.push([]) - 1;
    rows[row]!.push(item);
    open.add(row, (found?.room ?? capacity) - length);
  }
  return rows;
}

/** Rows by the room left in them; finding the tightest fit looks at one bit for each possible room. */
function createOpenRows(capacity: number) {
  const rowsByRoom: number[][] = [];
  const present = new Uint32Array((capacity >>> 5) + 1);

  return {
    add(row: number, room: number): void {
      const rows = rowsByRoom[room] ?? [];
      rowsByRoom[room] = rows;
      rows.push(row);
      present[room >>> 5]! |= 1 << (room & 31);
    },
    /** Takes out a row with the least room of at least `length`. */
    takeTightest(length: number): { row: number; room: number } | undefined {
      let word = length >>> 5;
      let bits = (present[word] ?? 0) & (-1 << (length & 31));
      while (bits === 0 && ++word < present.length) bits = present[word]!;
      if (bits === 0) return undefined;
      const room = word * 32 + (31 - Math.clz32(bits & -bits));
      const rows = rowsByRoom[room]!;
      const row = rows.pop()!;
      if (rows.length === 0) present[word]! &= ~(1 << (room & 31));
      return { row, room };
    },
  };
}
