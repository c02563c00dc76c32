// Ends a text at the first stop string, and holds back what may be the beginning of one, so that no
// part of a stop string is ever shown.

export interface StopStrings {
  /** Text that may be shown now, and whether a stop string has ended it. */
  add(text: string): { readonly text: string; readonly stopped: boolean };
  /** What was held back, once nothing more comes. */
  finish(): string;
}

export function createStopStrings(stops: readonly string[]): StopStrings {
  const wanted = stops.filter((stop) => stop !== "");
  let held = "";
  return {
    add(text) {
      held += text;
      const starts = wanted.map((stop) => held.indexOf(stop)).filter((start) => start >= 0);
      if (starts.length > 0) {
        const shown = held.slice(0, Math.min(...starts));
        held = "";
        return { text: shown, stopped: true };
      }
      const end = held.length - longestBeginning(held, wanted);
      const shown = held.slice(0, end);
      held = held.slice(end);
      return { text: shown, stopped: false };
    },
    finish() {
      const rest = held;
      held = "";
      return rest;
    },
  };
}

/** The longest end of `text` with which a stop string begins. */
function longestBeginning(text: string, stops: readonly string[]): number {
  let longest = 0;
  for (const stop of stops)
    for (let length = Math.min(stop.length - 1, text.length); length > longest; length--)
      if (stop.startsWith(text.slice(-length))) longest = length;
  return longest;
}
