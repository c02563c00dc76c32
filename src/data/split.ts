// Which examples are held out for evaluation: decided by a hash of their content, so that copies of an
// example land on the same side, and the choice is the same for every seed and order of the file.

import { createHash } from "node:crypto";
import { TunesmithError } from "../errors.ts";
import type { Example } from "./example.ts";

/** How many hashes of contents there are; each is a multiple of 1 / HASHES. */
export const HASHES = 2 ** 48;

/** A number in [0, 1) from what an example says; white space makes no difference. */
export function contentHash(example: Example): number {
  const content = JSON.stringify(example, (_, value) =>
    typeof value === "string" ? value.replaceAll(/\s+/gu, " ").trim() : value,
  );
  return createHash("sha256").update(content).digest().readUIntBE(0, 6) / HASHES;
}

/**
 * The bound below which a hash is held out, for a share (below 1) or a number of the examples hashed.
 * Copies stay together, so the number held out may differ by a group of them.
 *
 * @throws TunesmithError (data) when either side would be empty.
 */
export function holdOutBound(hashes: readonly number[], amount: number): number {
  const sorted = [...hashes].sort((a, b) => a - b);
  const wanted = amount < 1 ? Math.max(1, Math.round(amount * sorted.length)) : amount;
  // A border lies between two groups of copies; the one nearest to what is wanted is taken.
  let border: number | undefined;
  for (let index = 1; index < sorted.length && wanted < sorted.length; index++) {
    if (sorted[index] === sorted[index - 1]) continue;
    if (border === undefined || Math.abs(index - wanted) < Math.abs(border - wanted))
      border = index;
  }
  if (border !== undefined) return sorted[border]!;
  throw new TunesmithError("data", {
    where: "data.eval",
    rule: "both training and evaluation need at least one example",
    seen: `${wanted} to hold out of ${hashes.length} (${new Set(hashes).size} different ones)`,
    fix: "hold out less, add data, or leave eval out",
  });
}

/** Checks an amount to hold out: a share between 0 and 1, or a whole number. */
export function checkHoldOut(amount: number): void {
  if (amount > 0 && (amount < 1 || Number.isInteger(amount))) return;
  throw new TunesmithError("config", {
    where: "data.eval",
    rule: "held-out data is a share between 0 and 1, a whole number of examples, or a file",
    seen: String(amount),
    fix: "use eval: 0.1 for a tenth of the training data",
  });
}
