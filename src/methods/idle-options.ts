// Options that other options of the same method leave without effect: what they are is a table in each
// method's definition. Whoever sets one is told, instead of finding out by a run that is no different.

import { isDeepStrictEqual } from "node:util";
import type { z } from "zod";
import type { Fault } from "../errors.ts";

/** When an option has no effect. */
export interface IdleOption<Options> {
  readonly option: string & keyof Options;
  readonly isIdle: (options: Options) => boolean;
  /** What gives it one, as it is written: `routing: top-k`. */
  readonly needs: string;
}

/** Options that stand within a method's options. */
export interface OptionsPart {
  /** Their dotted path, such as `union.0`. */
  readonly path: string;
  readonly schema: z.ZodObject;
  readonly idle: readonly IdleOption<never>[];
  readonly options: object;
}

/** A fault of an option, where the place is not known yet. */
export interface IdleFault extends Omit<Fault, "where"> {
  /** Its dotted path within the method's options. */
  readonly option: string;
}

/**
 * Faults of options that are set to something else than their default and have no effect. What stands
 * in the file of an adapter is no such fault: libraries write all their keys.
 */
export function idleFaults<Options extends object>(
  schema: z.ZodObject,
  idle: readonly IdleOption<Options>[],
  options: Options,
): IdleFault[] {
  const usual = (option: string) => (schema.shape[option] as z.ZodType).safeParse(undefined).data;
  return idle
    .filter(({ option, isIdle }) => {
      const value = options[option];
      return value !== undefined && !isDeepStrictEqual(value, usual(option)) && isIdle(options);
    })
    .map(({ option, needs }) => ({
      option,
      rule: `goes with ${needs}, and has no effect without`,
      seen: JSON.stringify(options[option]),
      fix: `set ${needs}, or leave ${option} out`,
    }));
}
