// Texts that fit two expressions, or one and not another. Both are followed side by side, byte by byte;
// each pair of states becomes a rule, so what comes out is an expression again.

import { TunesmithError } from "../../errors.ts";
import { type Automaton, createAutomaton, DEAD } from "./automaton.ts";
import {
  call,
  choice,
  EMPTY,
  type Expression,
  NOTHING,
  type Rule,
  rule,
  sequence,
} from "./expression.ts";
import { buildNetwork } from "./network.ts";
import type { ByteRange } from "./utf8-ranges.ts";

/** Pairs of states at most. */
const MOST_PAIRS = 20_000;

/**
 * Texts that fit both. Neither may have rules that mention themselves elsewhere than at their end.
 *
 * @param where what they were made from, for errors
 * @throws TunesmithError (config) where both together are larger than memory should hold
 */
export const both = (first: Expression, second: Expression, where: string): Expression =>
  product(first, second, false, where);

/** Texts that fit the first and not the second; as above. */
export const except = (first: Expression, second: Expression, where: string): Expression =>
  product(first, second, true, where);

function product(
  first: Expression,
  second: Expression,
  isExcluded: boolean,
  where: string,
): Expression {
  const [a, b] = [first, second].map((each) =>
    createAutomaton(buildNetwork(each, where), where),
  ) as [Automaton, Automaton];
  const classes = classesOf(a, b);
  const rules = new Map<number, Rule>();
  const open: { readonly states: readonly [number, number]; readonly made: Rule }[] = [];
  let isPossible = false;

  const ruleOf = (inFirst: number, inSecond: number): Rule => {
    const key = (inFirst + 1) * 2 ** 26 + inSecond + 1;
    const known = rules.get(key);
    if (known !== undefined) return known;
    if (rules.size === MOST_PAIRS) throw tooLarge(where);
    const made = rule("both");
    rules.set(key, made);
    open.push({ states: [inFirst, inSecond], made });
    return made;
  };
  const isLost = (inFirst: number, inSecond: number) =>
    inFirst === DEAD || (inSecond === DEAD && !isExcluded);

  if (isLost(a.start, b.start)) return NOTHING;
  const start = ruleOf(a.start, b.start);
  for (let next = open.pop(); next !== undefined; next = open.pop()) {
    const [inFirst, inSecond] = next.states;
    const ways = new Map<Rule, ByteRange[]>();
    for (const { ofFirst, ofSecond, ranges } of classes) {
      const behindFirst = a.next(inFirst, ofFirst);
      const behindSecond = inSecond === DEAD ? DEAD : b.next(inSecond, ofSecond);
      if (isLost(behindFirst, behindSecond)) continue;
      const behind = ruleOf(behindFirst, behindSecond);
      ways.set(behind, [...(ways.get(behind) ?? []), ...ranges]);
    }
    const options = [...ways].map(([behind, ranges]) =>
      sequence({ kind: "bytes", ranges }, call(behind)),
    );
    const fitsSecond = inSecond !== DEAD && b.isAccepting(inSecond);
    if (a.isAccepting(inFirst) && fitsSecond !== isExcluded) {
      options.push(EMPTY);
      isPossible = true;
    }
    next.made.body = choice(...options);
  }
  return isPossible ? call(start) : NOTHING;
}

/** Bytes that neither of two automata tells apart, as ranges. */
function classesOf(a: Automaton, b: Automaton) {
  const byClass = new Map<number, [low: number, high: number][]>();
  for (let byte = 0; byte < 256; byte++) {
    const key = 256 * a.classOf[byte]! + b.classOf[byte]!;
    const ranges = byClass.get(key) ?? [];
    byClass.set(key, ranges);
    const before = ranges.at(-1);
    if (before?.[1] === byte - 1) before[1] = byte;
    else ranges.push([byte, byte]);
  }
  return [...byClass].map(([key, ranges]) => ({ ofFirst: key >> 8, ofSecond: key & 255, ranges }));
}

const tooLarge = (where: string) =>
  new TunesmithError("config", {
    where,
    rule: `what is asked for together comes to at most ${MOST_PAIRS.toLocaleString("en")} states`,
    seen: "more",
    fix: "lower the largest bounds, or write one pattern that says it all",
  });
