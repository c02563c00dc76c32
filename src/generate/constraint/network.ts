// An expression as a network of nodes over bytes. A rule is a part of the network that is entered from
// several places and returns to each, so that rules may mention themselves; what cannot be completed
// is taken out, so that whoever follows the network never comes to a dead end.

import { type Fault, TunesmithError } from "../../errors.ts";
import type { Expression, Rule } from "./expression.ts";
import { type ByteRange, utf8Ranges } from "./utf8-ranges.ts";

export interface NetworkNode {
  /** Where a byte of an inclusive range leads. */
  edges: { readonly low: number; readonly high: number; readonly to: number }[];
  /** Nodes that one is at as well. */
  skips: number[];
  /** Rules that may begin here, by their first node, and the node behind them. */
  calls: { readonly start: number; readonly back: number }[];
  /** Whether a rule is complete here. */
  readonly isEnd: boolean;
}

export interface Network {
  readonly nodes: readonly NetworkNode[];
  readonly start: number;
}

/** Nodes at most; a thousand times what schemas in use take, some 200 MB. */
const MOST_NODES = 300_000;

/** Copies of a part from which on it is worth a rule of its own. */
const COPIES_WITHOUT_RULE = 2;

/**
 * @param where what the expression was made from, for errors
 * @throws TunesmithError (config) for an expression that is larger than memory should hold, or has a
 *   rule that begins with itself
 */
export function buildNetwork(expression: Expression, where: string): Network {
  const nodes: NetworkNode[] = [];
  const entries = new Map<Rule, number>();
  const unbuilt: Rule[] = [];

  const node = (parts: Partial<NetworkNode> = {}): number => {
    if (nodes.length >= MOST_NODES) throw tooLarge(where);
    nodes.push({ edges: [], skips: [], calls: [], isEnd: false, ...parts });
    return nodes.length - 1;
  };
  const entryOf = (rule: Rule): number => {
    const known = entries.get(rule);
    if (known !== undefined) return known;
    const start = node();
    entries.set(rule, start);
    unbuilt.push(rule);
    return start;
  };

  /** The node at which an expression begins that goes on to `next`. */
  const link = (part: Expression, next: number): number => {
    switch (part.kind) {
      case "character":
        return linkBytes(part, next);
      case "bytes":
        return node({ edges: part.ranges.map(([low, high]) => ({ low, high, to: next })) });
      case "sequence":
        return part.parts.reduceRight((behind, each) => link(each, behind), next);
      case "choice":
        return node({ skips: part.options.map((option) => link(option, next)) });
      case "repeat":
        return linkRepeat(part, next);
      case "rule":
        return node({ calls: [{ start: entryOf(part.rule), back: next }] });
    }
  };
  const linkBytes = ({ set }: Extract<Expression, { kind: "character" }>, next: number): number => {
    /** Nodes by what they lead to: characters that end alike share their ends. */
    const made = new Map<string, number>();
    const nodeOf = (encodings: readonly (readonly ByteRange[])[]): number => {
      // Ranges of first bytes are equal or apart, so each byte has one way.
      const byFirst = Map.groupBy(encodings, ([first]) => first!.join());
      const edges = [...byFirst.values()].map((alike) => {
        const [low, high] = alike[0]![0]!;
        const rests = alike.map((encoding) => encoding.slice(1));
        return { low, high, to: rests[0]!.length === 0 ? next : nodeOf(rests) };
      });
      const key = edges.map(({ low, high, to }) => `${low} ${high} ${to}`).join();
      const known = made.get(key) ?? node({ edges });
      made.set(key, known);
      return known;
    };
    return nodeOf(utf8Ranges(set));
  };
  const linkRepeat = (
    { part, least, most }: Extract<Expression, { kind: "repeat" }>,
    next: number,
  ): number => {
    const endless = most === Number.POSITIVE_INFINITY;
    const copies = endless ? least + 1 : most;
    const each: Expression =
      copies > COPIES_WITHOUT_RULE && part.kind !== "rule"
        ? { kind: "rule", rule: { name: "repeated", body: part } }
        : part;
    let start = next;
    if (endless) {
      start = node({ skips: [next] });
      nodes[start]!.skips.push(link(each, start));
    } else
      for (let copy = most; copy > least; copy--)
        start = node({ skips: [link(each, start), next] });
    for (let copy = 0; copy < least; copy++) start = link(each, start);
    return start;
  };

  const start = link(expression, node({ isEnd: true }));
  for (let rule = unbuilt.pop(); rule !== undefined; rule = unbuilt.pop()) {
    const body = link(rule.body, node({ isEnd: true }));
    nodes[entries.get(rule)!]!.skips.push(body);
  }
  removeDeadEnds(nodes);
  refuseLeftRecursion(nodes, entries, where);
  return { nodes, start };
}

/** Takes out every way that cannot be followed to the end of its rule. */
function removeDeadEnds(nodes: readonly NetworkNode[]): void {
  const alive = closeUpwards(
    nodes,
    ({ edges, skips, calls, isEnd }, holds) =>
      isEnd ||
      edges.some(({ to }) => holds(to)) ||
      skips.some(holds) ||
      calls.some(({ start, back }) => holds(start) && holds(back)),
  );
  for (const node of nodes) {
    node.edges = node.edges.filter(({ to }) => alive[to]);
    node.skips = node.skips.filter((to) => alive[to]);
    node.calls = node.calls.filter(({ start, back }) => alive[start] && alive[back]);
  }
}

/** The smallest set of nodes that is closed under a condition on what lies behind them. */
function closeUpwards(
  nodes: readonly NetworkNode[],
  condition: (node: NetworkNode, holds: (node: number) => boolean) => boolean,
): Uint8Array {
  const members = new Uint8Array(nodes.length);
  const holds = (node: number) => members[node] === 1;
  /** Before each node those that it lies behind, which may belong where it does. */
  const before = nodes.map((): number[] => []);
  nodes.forEach(({ edges, skips, calls }, i) => {
    for (const { to } of edges) before[to]!.push(i);
    for (const to of skips) before[to]!.push(i);
    for (const { start, back } of calls) {
      before[start]!.push(i);
      before[back]!.push(i);
    }
  });
  const open = [...nodes.keys()];
  for (let at = open.pop(); at !== undefined; at = open.pop()) {
    if (holds(at) || !condition(nodes[at]!, holds)) continue;
    members[at] = 1;
    for (const node of before[at]!) if (!holds(node)) open.push(node);
  }
  return members;
}

/** A rule that begins with itself would be entered without end before a byte is read. */
function refuseLeftRecursion(
  nodes: readonly NetworkNode[],
  entries: ReadonlyMap<Rule, number>,
  where: string,
): void {
  const empty = closeUpwards(
    nodes,
    ({ skips, calls, isEnd }, holds) =>
      isEnd || skips.some(holds) || calls.some(({ start, back }) => holds(start) && holds(back)),
  );
  /** Rules that may begin where a rule begins. */
  const begunWith = (start: number): Set<number> => {
    const seen = new Set<number>();
    const begun = new Set<number>();
    const open = [start];
    for (let at = open.pop(); at !== undefined; at = open.pop()) {
      if (seen.has(at)) continue;
      seen.add(at);
      open.push(...nodes[at]!.skips);
      for (const { start: rule, back } of nodes[at]!.calls) {
        begun.add(rule);
        if (empty[rule]) open.push(back);
      }
    }
    return begun;
  };
  const names = new Map([...entries].map(([rule, start]) => [start, rule.name]));
  const finished = new Set<number>();
  const path = new Set<number>();
  const visit = (start: number): void => {
    if (finished.has(start)) return;
    if (path.has(start))
      throw new TunesmithError("config", {
        where,
        rule: "no rule begins with itself",
        seen: [...path, start].map((each) => names.get(each)).join(" → "),
        fix: "write the repetition as (…)* or let the rule mention itself at its end",
      });
    path.add(start);
    for (const begun of begunWith(start)) visit(begun);
    path.delete(start);
    finished.add(start);
  };
  for (const start of entries.values()) visit(start);
}

const tooLarge = (where: string) => {
  const fault: Fault = {
    where,
    rule: `repetitions written out make at most ${MOST_NODES.toLocaleString("en")} steps`,
    seen: "more",
    fix: "lower the largest bounds (maxLength, maxItems, {m,n}), or leave them out",
  };
  return new TunesmithError("config", fault);
};
