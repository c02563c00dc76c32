// Follows a network byte by byte. A state is the set of all places in the network that the bytes so
// far may have led to, each with the rules it will return to; states and the ways between them are
// found when they are first needed and kept, so a byte read a second time is one look into a table.

import { TunesmithError } from "../../errors.ts";
import type { Network } from "./network.ts";

/** The state behind a byte that must not come. */
export const DEAD = -1;
const UNKNOWN = -2;

/** Places side by side in one state; ambiguous grammars multiply them. */
const MOST_PLACES = 20_000;

export interface Automaton {
  /** DEAD where nothing fits. */
  readonly start: number;
  /** For each byte its class: bytes of one class lead from each state to the same one. */
  readonly classOf: Uint8Array;
  /** The state behind a byte of a class, or DEAD. */
  next(state: number, byteClass: number): number;
  /** Whether the text may end here. */
  isAccepting(state: number): boolean;
  /** Whether nothing may follow. */
  isFinal(state: number): boolean;
}

interface State {
  /** Node and frame of each place from which a byte leads on, one behind the other. */
  readonly places: readonly number[];
  readonly accepting: boolean;
}

/** @param where for errors: what the network was made from */
export function createAutomaton({ nodes, start }: Network, where: string): Automaton {
  const { classOf, firstOfClass } = byteClasses(nodes);
  const classes = firstOfClass.length;
  const frames = createFrames(nodes.length);
  const states: State[] = [];
  const ids = new Map<string, number>();
  let table = new Int32Array(64 * classes);

  /** Adds everything that one is at together with a node. */
  const spread = (node: number, frame: number, seen: Set<number>, places: Set<number>): boolean => {
    const open = [node, frame];
    let accepting = false;
    while (open.length > 0) {
      const within = open.pop()!;
      const at = open.pop()!;
      const key = within * nodes.length + at;
      if (seen.has(key)) continue;
      seen.add(key);
      const { edges, skips, calls, isEnd } = nodes[at]!;
      if (edges.length > 0) places.add(key);
      for (const to of skips) open.push(to, within);
      for (const { start: rule, back } of calls) {
        // A rule at the end of another returns to where that one returns to: no frame of its own.
        const last = nodes[back]!.isEnd;
        open.push(rule, last ? within : frames.push(back, within));
      }
      if (!isEnd) continue;
      if (within === frames.outermost) accepting = true;
      else open.push(frames.back(within), frames.outer(within));
    }
    return accepting;
  };

  const intern = (places: Set<number>, accepting: boolean): number => {
    if (places.size === 0 && !accepting) return DEAD;
    if (places.size > MOST_PLACES) throw tooAmbiguous(where);
    const sorted = [...places].sort((a, b) => a - b);
    const key = `${accepting} ${sorted.join(" ")}`;
    const known = ids.get(key);
    if (known !== undefined) return known;
    const id = states.length;
    ids.set(key, id);
    states.push({
      places: sorted.flatMap((place) => [place % nodes.length, Math.floor(place / nodes.length)]),
      accepting,
    });
    if (states.length * classes > table.length) {
      const larger = new Int32Array(2 * table.length);
      larger.set(table);
      table = larger;
    }
    table.fill(UNKNOWN, id * classes, (id + 1) * classes);
    return id;
  };

  /** States by the one place that a byte led to, which most bytes do; what lies about it is the same. */
  const ofPlace = new Map<number, number>();

  const find = (state: number, byteClass: number): number => {
    const byte = firstOfClass[byteClass]!;
    const reached: number[] = [];
    const from = states[state]!.places;
    for (let i = 0; i < from.length; i += 2)
      for (const { low, high, to } of nodes[from[i]!]!.edges)
        if (low <= byte && byte <= high) reached.push(to, from[i + 1]!);
    const place = reached.length === 2 ? reached[1]! * nodes.length + reached[0]! : undefined;
    const known = place === undefined ? undefined : ofPlace.get(place);
    const found = known ?? stateAround(reached);
    if (place !== undefined && known === undefined) ofPlace.set(place, found);
    table[state * classes + byteClass] = found;
    return found;
  };
  /** The state of everything that one is at together with given nodes and their frames. */
  const stateAround = (reached: readonly number[]): number => {
    const seen = new Set<number>();
    const places = new Set<number>();
    let accepting = false;
    for (let i = 0; i < reached.length; i += 2)
      accepting = spread(reached[i]!, reached[i + 1]!, seen, places) || accepting;
    return intern(places, accepting);
  };

  return {
    start: stateAround([start, frames.outermost]),
    classOf,
    next(state, byteClass) {
      const known = table[state * classes + byteClass]!;
      return known === UNKNOWN ? find(state, byteClass) : known;
    },
    isAccepting: (state) => states[state]!.accepting,
    isFinal: (state) => states[state]!.places.length === 0,
  };
}

/** What is returned to, as linked frames: equal chains are one number. */
function createFrames(nodeCount: number) {
  const backs = [0];
  const outers = [0];
  const ids = new Map<number, number>();
  return {
    outermost: 0,
    push(back: number, outer: number): number {
      const key = outer * nodeCount + back;
      const known = ids.get(key);
      if (known !== undefined) return known;
      backs.push(back);
      outers.push(outer);
      ids.set(key, backs.length - 1);
      return backs.length - 1;
    },
    back: (frame: number) => backs[frame]!,
    outer: (frame: number) => outers[frame]!,
  };
}

/** Bytes that no edge of the network tells apart are one class. */
function byteClasses(nodes: Network["nodes"]) {
  const begins = new Uint8Array(257);
  begins[0] = 1;
  for (const { edges } of nodes)
    for (const { low, high } of edges) {
      begins[low] = 1;
      begins[high + 1] = 1;
    }
  const classOf = new Uint8Array(256);
  const firstOfClass: number[] = [];
  for (let byte = 0; byte < 256; byte++) {
    if (begins[byte]) firstOfClass.push(byte);
    classOf[byte] = firstOfClass.length - 1;
  }
  return { classOf, firstOfClass };
}

const tooAmbiguous = (where: string) =>
  new TunesmithError("config", {
    where,
    rule: `a text can be read in at most ${MOST_PLACES.toLocaleString("en")} ways at once`,
    seen: "more",
    fix: "make the grammar less ambiguous: let alternatives begin with different characters",
  });
