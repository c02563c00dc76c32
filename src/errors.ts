// The one error family of tunesmith. Every fault that a user can cause is told in four parts:
// where it happened, which rule was broken, what was seen, and the likely fix.

export type ErrorCode =
  | "config" // a recipe, a flag or an option
  | "shape" // tensors that do not fit each other
  | "data" // training data
  | "checkpoint" // model, adapter or tokenizer files
  | "run" // a run folder, resuming, disk, memory
  | "launch" // starting work somewhere
  | "api"; // somebody else's service

export interface Fault {
  /** Where: a file with line and column, a recipe key, a tensor, an option. */
  where: string;
  /** The rule that was broken, as a plain sentence. */
  rule: string;
  /** What was seen instead. */
  seen: string;
  /** The likely fix: what to type or change. */
  fix: string;
}

/** Writes one fault as text: `where: rule; saw … (fix)`. */
function describeFault(fault: Fault): string {
  return `${fault.where}: ${fault.rule}\n  saw: ${fault.seen}\n  fix: ${fault.fix}`;
}

/** An error a user can act on. Several faults found together (a recipe's, say) travel in one error. */
export class TunesmithError extends Error {
  readonly code: ErrorCode;
  readonly faults: readonly Fault[];

  constructor(code: ErrorCode, faults: Fault | readonly Fault[], options?: { cause?: unknown }) {
    const list: readonly Fault[] = Array.isArray(faults) ? faults : [faults as Fault];
    super(list.map(describeFault).join("\n"), options);
    this.name = "TunesmithError";
    this.code = code;
    this.faults = list;
  }
}

/** The candidate nearest to `word` by edit distance, or undefined when nothing is close. */
export function nearest(word: string, candidates: Iterable<string>): string | undefined {
  let best: string | undefined;
  let bestDistance = Math.max(2, Math.floor(word.length / 3)) + 1;
  for (const candidate of candidates) {
    const distance = editDistance(word.toLowerCase(), candidate.toLowerCase());
    if (distance < bestDistance) {
      bestDistance = distance;
      best = candidate;
    }
  }
  return best;
}

function editDistance(a: string, b: string): number {
  let previous = Array.from({ length: b.length + 1 }, (_, j) => j);
  for (let i = 1; i <= a.length; i++) {
    const current = [i];
    for (let j = 1; j <= b.length; j++) {
      const substitution = previous[j - 1]! + (a[i - 1] === b[j - 1] ? 0 : 1);
      current.push(Math.min(previous[j]! + 1, current[j - 1]! + 1, substitution));
    }
    previous = current;
  }
  return previous[b.length]!;
}
