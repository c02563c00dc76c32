// The stored results of the Python libraries that the hub's tests compare with (tests/parity).

import { readFileSync } from "node:fs";
import { join } from "node:path";

/** The path of a file or folder below tests/parity/cases. */
export function casePath(...parts: string[]): string {
  return join(import.meta.dirname, "../../../tests/parity/cases", ...parts);
}

/** A stored JSON file; `T` is what the script that wrote it wrote. */
export function readCase<T>(...parts: string[]): T {
  return JSON.parse(readFileSync(casePath(...parts), "utf8")) as T;
}
