// What can go wrong in the middle of a run, told so that a person knows what to do next and what is
// safe: losses that are no numbers, a full disk, memory that is used up.

import { TunesmithError } from "../errors.ts";

/** What a fault in the middle of a run needs to know about the run. */
export interface RunPosition {
  /** Finished optimizer steps. */
  readonly step: number;
  /** The newest complete checkpoint, where there is one. */
  readonly lastCheckpoint?: string;
}

/** How to go on from the last good checkpoint, as the end of a fix. */
function describeSafePlace({ lastCheckpoint }: RunPosition): string {
  return lastCheckpoint
    ? `the last good checkpoint is ${lastCheckpoint}; continue from it with resume (--resume)`
    : "no checkpoint was saved yet, so start again; a smaller train.saveEvery saves sooner";
}

/** The fault of a loss or a gradient that is NaN or infinite. */
export function notFinite(
  what: "loss" | "gradient norm" | "evaluation loss",
  value: number,
  learningRate: number,
  position: RunPosition,
): TunesmithError {
  const { step, lastCheckpoint } = position;
  const finished = what === "evaluation loss" ? `after step ${step}` : `in step ${step + 1}`;
  return new TunesmithError("run", {
    where: `training, ${finished}`,
    rule: `the ${what} must be a finite number`,
    seen: `${value} at learning rate ${learningRate}`,
    fix:
      "lower train.learningRate, lengthen the warm-up or lower train.maxGradientNorm; " +
      (lastCheckpoint
        ? `the last good checkpoint is ${lastCheckpoint}`
        : "no checkpoint was saved"),
  });
}

const OUT_OF_MEMORY =
  /failed to allocate|available memory of|out of memory|bad_alloc|array buffer allocation failed|invalid (typed )?array length|CUDA_ERROR_OUT_OF_MEMORY|ENOMEM/i;
const OUT_OF_SPACE = new Set(["ENOSPC", "EDQUOT"]);

/**
 * Rewrites an error from within a run as a TunesmithError that says what is safe, where its kind is
 * known; any other error is given back as it is.
 */
export function explainRunFailure(error: unknown, position: RunPosition): unknown {
  const cause = innermostCode(error);
  if (cause && OUT_OF_SPACE.has(cause.code))
    return new TunesmithError(
      "run",
      {
        where: cause.path ?? "the run folder",
        rule: "the disk must have room for what the run writes",
        seen: `the disk is full (${cause.code}) after step ${position.step}`,
        fix: `free some space or lower train.keepLast; ${describeSafePlace(position)}`,
      },
      { cause: error },
    );
  if (error instanceof TunesmithError) {
    // A lower layer knows best what was too large, and not what is safe.
    if (error.code !== "run" || !OUT_OF_MEMORY.test(String(error.cause))) return error;
    const safe = describeSafePlace(position);
    const faults = error.faults.map((fault) => ({ ...fault, fix: `${fault.fix}; ${safe}` }));
    return new TunesmithError("run", faults, { cause: error });
  }
  if (error instanceof Error && OUT_OF_MEMORY.test(error.message))
    return new TunesmithError(
      "run",
      {
        where: `training, in step ${position.step + 1}`,
        rule: "a step must fit into memory",
        seen: firstLine(error.message),
        fix:
          "use a smaller batch with more train.gradientAccumulation (the losses stay the same), " +
          `or shorter samples; ${describeSafePlace(position)}`,
      },
      { cause: error },
    );
  return error;
}

/** The system's own error, which a TunesmithError of a lower layer may carry as its cause. */
function innermostCode(error: unknown): { code: string; path?: string } | undefined {
  let found: { code: string; path?: string } | undefined;
  for (let at = error; at instanceof Error; at = at.cause) {
    if (at instanceof TunesmithError) {
      const where = at.faults[0]?.where;
      if (where) found = { code: "", path: where };
      continue;
    }
    const { code, path } = at as NodeJS.ErrnoException;
    if (typeof code === "string") return { code, path: path ?? found?.path };
  }
  return undefined;
}

function firstLine(message: string): string {
  return message.split("\n")[0]!.slice(0, 300);
}
