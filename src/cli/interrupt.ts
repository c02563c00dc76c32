// Ctrl-C: the first press asks the work to save and stop, the second quits at once. A terminal that
// closes, a system that shuts down and a reader that is gone ask in the same way, once or often.

/** Presses nearer than this are one: npm and the terminal may both pass the same press on. */
const SAME_PRESS_MS = 400;

/** Never the second press: who sends them (a closing terminal, a service manager) may repeat them. */
const REQUESTS = ["SIGHUP", "SIGTERM"] as const;

export interface Interrupt {
  /** Aborted at the first press. */
  readonly signal: AbortSignal;
  /** Stops listening. */
  dispose(): void;
}

/**
 * Listens until `dispose`; `onFirst` tells the person what happens now. `closed` (that of a console)
 * counts as a request to stop as well.
 */
export function listenForInterrupt(onFirst: () => void, closed?: AbortSignal): Interrupt {
  const controller = new AbortController();
  let first: number | undefined;
  const stop = () => {
    if (first !== undefined) return;
    first = Date.now();
    onFirst();
    controller.abort();
  };
  const press = () => {
    if (first === undefined) stop();
    else if (Date.now() - first > SAME_PRESS_MS) process.exit(130);
  };
  process.on("SIGINT", press);
  for (const name of REQUESTS) process.on(name, stop);
  closed?.addEventListener("abort", stop);
  if (closed?.aborted) stop();
  return {
    signal: controller.signal,
    dispose() {
      process.off("SIGINT", press);
      for (const name of REQUESTS) process.off(name, stop);
      closed?.removeEventListener("abort", stop);
    },
  };
}
