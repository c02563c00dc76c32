// Work on one module after another, each of which may take a second: between two of them others have a
// turn, and it is asked whether anybody still waits.

import { setImmediate } from "node:timers/promises";

/**
 * What `make` makes of each, in order; what it makes nothing of is left out.
 * @throws the signal's reason where it has aborted
 */
export async function moduleByModule<Module, Made>(
  modules: Iterable<readonly [path: string, module: Module]>,
  make: (path: string, module: Module) => Made | undefined,
  signal: AbortSignal | undefined,
): Promise<Map<string, Made>> {
  const made = new Map<string, Made>();
  for (const [path, module] of modules) {
    await setImmediate();
    signal?.throwIfAborted();
    const result = make(path, module);
    if (result !== undefined) made.set(path, result);
  }
  return made;
}
