// Where new tokens stand: their positions, the rotary tables that turn them, and where in the cache
// attention finds and writes them. Here is all that tells a prompt from a step.

import type { Reach } from "../../models/index.ts";
import type { Value } from "../../runtime/kernel.ts";
import { floatData, floats, integers } from "../../runtime/values.ts";
import { rotaryValues } from "../inputs.ts";
import { REACH_INPUTS, REACHES, type SharedName } from "../trace.ts";
import { createContextReading } from "./context-reading.ts";
import type { DecodableModel } from "./decoder-contract.ts";

/** A row that new tokens are read of. */
export interface ReadRow {
  /** Positions kept of it. */
  readonly length: number;
  /** New tokens; what is padded behind them stands nowhere. */
  readonly fresh: number;
  /** Whether its text is turned by the tables for texts beyond the switch. */
  readonly isLong: boolean;
  /** Its tokens, those included that have yet to be read, where positions depend on them. */
  readonly text?: readonly number[];
}

export interface TextPositions {
  /** Rows of the rotary tables, for a cache of such a capacity. */
  tableLength(sequence: number, capacity: number): number;
  /** Positions and tables of rows with `sequence` new tokens each, padding included. */
  inputs(
    rows: readonly ReadRow[],
    sequence: number,
    capacity: number,
  ): Partial<Record<SharedName, Value>>;
  /** Whether a text of so many positions is beyond the switch of the rotary tables. */
  isLong(length: number): boolean;
}

export function createTextPositions({
  architecture,
  method,
}: Pick<DecodableModel, "architecture" | "method">): TextPositions {
  const { rotarySwitch } = architecture.dimensions;
  const offset = method?.positionOffset ?? 0;
  const virtualCount = method?.virtualTokens?.count ?? 0;
  const inContext = createContextReading(architecture);
  const placeOf = (text: readonly number[] | undefined, at: number) =>
    inContext && text && at >= virtualCount
      ? virtualCount + inContext.positionOf(text, at - virtualCount)
      : at;
  const tables = new Map<Reach, { readonly cosines: Value; readonly sines: Value }>();

  /** The kernel wants a row for every position of a padded prompt, whether or not it is used. */
  const textRows = (sequence: number, capacity: number) => offset + Math.max(capacity, sequence);
  const tableLength = (sequence: number, capacity: number) =>
    textRows(sequence, capacity) * (rotarySwitch === undefined ? 1 : 2);

  /** The tables of short texts and, behind them, of long ones: each row of a batch has its own. */
  const tablesOf = (rows: number, used: number, reach: Reach) => {
    if (rotarySwitch === undefined) return rotaryValues(architecture, used, rows, reach);
    const short = rotaryValues(architecture, Math.min(used, rotarySwitch), rows, reach);
    const long = rotaryValues(architecture, Math.max(used, rotarySwitch + 1), rows, reach);
    const both = (part: "cosines" | "sines") => {
      const [a, b] = [floatData(short[part]), floatData(long[part])];
      const data = new Float32Array(a.length + b.length);
      data.set(a);
      data.set(b, a.length);
      return floats(data, [2 * rows, short[part].dims[1]!]);
    };
    return { cosines: both("cosines"), sines: both("sines") };
  };
  const rotary = (sequence: number, capacity: number, reach: Reach) => {
    let found = tables.get(reach);
    if (found?.cosines.dims[0] !== tableLength(sequence, capacity)) {
      found = tablesOf(textRows(sequence, capacity), offset + capacity, reach);
      tables.set(reach, found);
    }
    const { cosines, sines } = REACH_INPUTS[reach];
    return { [cosines]: found.cosines, [sines]: found.sines };
  };

  return {
    tableLength,
    isLong: (length) => rotarySwitch !== undefined && offset + length > rotarySwitch,
    inputs(rows, sequence, capacity) {
      const positions = new BigInt64Array(rows.length * sequence);
      const behind = textRows(sequence, capacity);
      rows.forEach(({ length, fresh, isLong, text }, row) => {
        const first = offset + (isLong ? behind : 0);
        for (let t = 0; t < fresh; t++)
          positions[row * sequence + t] = BigInt(first + placeOf(text, length + t));
      });
      return {
        ...Object.assign({}, ...REACHES.map((reach) => rotary(sequence, capacity, reach))),
        positions: integers(positions, [rows.length, sequence]),
      };
    },
  };
}
