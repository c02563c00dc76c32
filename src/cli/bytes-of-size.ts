// Sizes of files as people type them.

import { TunesmithError } from "../errors.ts";

const UNITS: Readonly<Record<string, number>> = { KB: 1e3, MB: 1e6, GB: 1e9 };

/**
 * The bytes of `500MB`, in units of 1000, as Transformers counts them.
 * @throws TunesmithError (config) for what is no size
 */
export function bytesOfSize(text: string): number {
  const [, count, unit] = /^(\d+(?:\.\d+)?) ?([KMG]B)$/i.exec(text) ?? [];
  if (count !== undefined) return Number(count) * UNITS[unit!.toUpperCase()]!;
  throw new TunesmithError("config", {
    where: "--max-shard-size",
    rule: "is a number with KB, MB or GB",
    seen: JSON.stringify(text),
    fix: "write --max-shard-size 2GB",
  });
}
