// A checkpoint whose reading can be stopped: before each tensor it is asked whether anybody still waits.

import type { Checkpoint } from "./checkpoint-types.ts";

/** The same checkpoint; where `signal` has aborted, reading a tensor throws its reason. */
export function untilAborted(checkpoint: Checkpoint, signal: AbortSignal | undefined): Checkpoint {
  if (!signal) return checkpoint;
  const { readFloat32Into, readRawInto, readQuantized } = checkpoint;
  const guarded =
    <Parameters extends unknown[], Result>(read: (...given: Parameters) => Promise<Result>) =>
    async (...given: Parameters): Promise<Result> => {
      signal.throwIfAborted();
      return read(...given);
    };
  return {
    ...checkpoint,
    readFloat32Into: guarded(readFloat32Into),
    readRawInto: guarded(readRawInto),
    ...(readQuantized && { readQuantized: guarded(readQuantized) }),
  };
}
