// ECMAScript's regular expressions as expressions. What has no counterpart in an automaton, such as a
// look ahead or a reference back, is refused.

import { type AST, RegExpParser } from "@eslint-community/regexpp";
import { TunesmithError } from "../../errors.ts";
import {
  ANY_CHARACTER,
  type CodePointRange,
  type CodePoints,
  codePoints,
  complement,
} from "./code-points.ts";
import { choice, type Expression, NOTHING, repeat, sequence } from "./expression.ts";

export interface RegexOptions {
  /** For errors: where the pattern stands. */
  readonly where: string;
  /** How a character of a set is written in the answer. Default: as itself. */
  readonly write?: (set: CodePoints) => Expression;
  /**
   * Whether the pattern may match anywhere in the text, as in JSON Schema, unless it says `^` or `$`.
   * Default false: it matches the whole text.
   */
  readonly searches?: boolean;
}

/**
 * @param pattern in the syntax of JavaScript with its `u` flag
 * @throws TunesmithError (config) for a pattern with a fault, or with what no automaton can follow
 */
export function regexExpression(pattern: string, options: RegexOptions): Expression {
  const { where, searches = false } = options;
  const write = options.write ?? ((set) => ({ kind: "character", set }));
  const anything = repeat(write(ANY_CHARACTER));

  const alternative = ({ elements }: AST.Alternative): Expression => {
    const starts = isAnchor(elements[0], "start");
    const ends = isAnchor(elements.at(-1), "end");
    const within = elements.slice(starts ? 1 : 0, ends ? -1 : undefined).map(element);
    return sequence(
      ...(searches && !starts ? [anything] : []),
      ...within,
      ...(searches && !ends ? [anything] : []),
    );
  };
  const element = (node: AST.Element): Expression => {
    switch (node.type) {
      case "Character":
      case "CharacterSet":
      case "CharacterClass":
        return write(setOf(node, refuse));
      case "Group":
        if (node.modifiers !== null) return refuse("modifiers", node);
        return inner(node);
      case "CapturingGroup":
        return inner(node);
      case "Quantifier":
        return repeat(element(node.element), node.min, node.max);
      case "Assertion":
        return refuse(ASSERTIONS[node.kind], node);
      case "Backreference":
        return refuse("references back to a group", node);
      case "ExpressionCharacterClass":
        return refuse("set operations within […]", node);
    }
  };
  const inner = (group: AST.Group | AST.CapturingGroup): Expression =>
    choice(...group.alternatives.map(({ elements }) => sequence(...elements.map(element))));
  const refuse = (what: string, { raw }: AST.Node): never => {
    throw new TunesmithError("config", {
      where,
      rule: `${what} cannot be followed while an answer is written`,
      seen: `${raw} in ${pattern}`,
      fix: "write the pattern without it",
    });
  };
  const { alternatives } = parse(pattern, where);
  return alternatives.length === 0 ? NOTHING : choice(...alternatives.map(alternative));
}

const ASSERTIONS = {
  start: "^ elsewhere than at the beginning of the pattern",
  end: "$ elsewhere than at the end of the pattern",
  word: "word boundaries",
  lookahead: "looking ahead",
  lookbehind: "looking behind",
} as const satisfies Record<AST.Assertion["kind"], string>;

const isAnchor = (node: AST.Element | undefined, kind: "start" | "end"): boolean =>
  node?.type === "Assertion" && node.kind === kind;

function parse(pattern: string, where: string): AST.Pattern {
  try {
    return new RegExpParser().parsePattern(pattern, 0, pattern.length, { unicode: true });
  } catch (error) {
    throw new TunesmithError(
      "config",
      {
        where,
        rule: "a pattern is a regular expression of JavaScript's, with its u flag",
        seen: (error as Error).message,
        fix: "correct the pattern; in it, escape only characters that mean something",
      },
      { cause: error },
    );
  }
}

type SetNode =
  | AST.Character
  | AST.CharacterSet
  | AST.CharacterClass
  | AST.CharacterClassRange
  | AST.CharacterClassElement;

function setOf(node: SetNode, refuse: (what: string, node: AST.Node) => never): CodePoints {
  switch (node.type) {
    case "Character":
      return codePoints([[node.value, node.value]]);
    case "CharacterClassRange":
      return codePoints([[node.min.value, node.max.value]]);
    case "CharacterSet":
      return matchedBy(node.raw);
    case "CharacterClass": {
      const set = codePoints(node.elements.flatMap((each) => setOf(each, refuse)));
      return node.negate ? complement(set) : set;
    }
    default:
      return refuse("set operations within […]", node);
  }
}

const known = new Map<string, CodePoints>();

/** The characters that `.`, `\d`, `\p{L}` and their like stand for, as the engine itself has them. */
function matchedBy(raw: string): CodePoints {
  const before = known.get(raw);
  if (before) return before;
  const matcher = new RegExp(raw, "u");
  const ranges: CodePointRange[] = [];
  for (const [first, last] of ANY_CHARACTER)
    for (let codePoint = first; codePoint <= last; codePoint++) {
      if (!matcher.test(String.fromCodePoint(codePoint))) continue;
      const begin = codePoint;
      while (codePoint < last && matcher.test(String.fromCodePoint(codePoint + 1))) codePoint++;
      ranges.push([begin, codePoint]);
    }
  const set = codePoints(ranges);
  known.set(raw, set);
  return set;
}
