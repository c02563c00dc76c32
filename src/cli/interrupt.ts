// Ctrl-C: the first press asks the work to save and stop, the second quits at once.

/** Presses nearer than this are one: npm and the terminal may both pass the same press on. */
const SAME_PRESS_MS = 400;

export interface Interrupt {
  /** Aborted at the first press. */
  readonly signal: AbortSignal;
  /** Stops listening. */
  dispose(): void;
}

/** Listens until `dispose`; `onFirst` tells the person what happens now. */
export function listenForInterrupt(onFirst: () => void): Interrupt {
  const controller = new AbortController();
  let first: number | undefined;
  const press = () => {
    if (first === undefined) {
      first = Date.now();
      onFirst();
      controller.abort();
    } else if (Date.now() - first > SAME_PRESS_MS) process.exit(130);
  };
  process.on("SIGINT", press);
  process.on("SIGTERM", press);
  return {
    signal: controller.signal,
    dispose() {
      process.off("SIGINT", press);
      process.off("SIGTERM", press);
    },
  };
}
