// Reading config.json strictly: a field that is missing, mistyped or not supported is a fault with
// its name, collected so that all are shown at once.

import { type Fault, TunesmithError } from "../errors.ts";

type Json = Readonly<Record<string, unknown>>;

export interface ConfigReader {
  integer(key: string, fallback?: number): number;
  number(key: string, fallback?: number): number;
  boolean(key: string, fallback: boolean): boolean;
  /** One of the given strings. */
  choice<T extends string>(key: string, allowed: readonly T[], fallback: T): T;
  /** Refuses a field that would change the math unless it has this value. */
  only(key: string, value: unknown): void;
  object(key: string): ConfigReader | undefined;
  /** An array; empty where there is none. */
  list(key: string): readonly unknown[];
  has(key: string): boolean;
  /** Whether the key is there with null as its value. */
  isNull(key: string): boolean;
  fault(key: string, rule: string): void;
  /** @throws TunesmithError with every fault found so far */
  finish(): void;
}

/** @param where what the faults name: `config.json` or a section of it */
export function readerFor(json: Json, where = "config.json", faults: Fault[] = []): ConfigReader {
  const fault = (key: string, rule: string) => {
    faults.push({
      where: `${where}: ${key}`,
      rule,
      seen: key in json ? JSON.stringify(json[key]) : "no such key",
      fix: "check that config.json belongs to this checkpoint and to a supported architecture",
    });
  };
  const numeric = (key: string, fallback: number | undefined, ok: (n: number) => boolean) => {
    const value = json[key] ?? fallback;
    if (typeof value === "number" && ok(value)) return value;
    fault(key, "must be a positive number");
    return fallback ?? 1;
  };
  return {
    integer: (key, fallback) => numeric(key, fallback, (n) => Number.isInteger(n) && n > 0),
    number: (key, fallback) => numeric(key, fallback, (n) => Number.isFinite(n) && n >= 0),
    boolean: (key, fallback) => {
      const value = json[key] ?? fallback;
      if (typeof value === "boolean") return value;
      fault(key, "must be true or false");
      return fallback;
    },
    choice: (key, allowed, fallback) => {
      const value = (json[key] ?? fallback) as typeof fallback;
      if (allowed.includes(value)) return value;
      fault(key, `must be one of ${allowed.join(", ")}`);
      return fallback;
    },
    only: (key, value) => {
      const seen = json[key] ?? value;
      if (seen !== value) fault(key, `only ${JSON.stringify(value)} is supported`);
    },
    object: (key) => {
      const value = json[key];
      if (value === undefined || value === null) return undefined;
      if (typeof value === "object" && !Array.isArray(value))
        return readerFor(value as Json, `${where}: ${key}`, faults);
      fault(key, "must be an object");
      return undefined;
    },
    list: (key) => {
      const value = json[key] ?? [];
      if (Array.isArray(value)) return value;
      fault(key, "must be an array");
      return [];
    },
    has: (key) => json[key] !== undefined && json[key] !== null,
    isNull: (key) => json[key] === null,
    fault,
    finish: () => {
      if (faults.length > 0) throw new TunesmithError("checkpoint", faults);
    },
  };
}
