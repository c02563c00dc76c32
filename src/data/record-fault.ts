// Faults of what a record names or says, with the record's place in front of their own.

import { TunesmithError } from "../errors.ts";

/** What `work` returns; of a TunesmithError that it throws, every fault names the record too. */
export async function ofRecord<Result>(
  where: string,
  work: () => Promise<Result>,
): Promise<Result> {
  try {
    return await work();
  } catch (cause) {
    throw withRecord(where, cause);
  }
}

/** The same error, its faults placed at a record; any other is left as it is. */
export function withRecord(where: string, cause: unknown): unknown {
  if (!(cause instanceof TunesmithError)) return cause;
  const faults = cause.faults.map((fault) => ({ ...fault, where: `${where} (${fault.where})` }));
  return new TunesmithError(cause.code, faults, { cause });
}
