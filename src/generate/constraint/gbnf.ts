// Grammars in llama.cpp's notation (GBNF): rules of literals, character classes, groups and
// repetitions, of which `root` is the answer.

import { nearest, TunesmithError } from "../../errors.ts";
import { ANY_CHARACTER, type CodePointRange, codePoints, complement } from "./code-points.ts";
import {
  call,
  choice,
  type Expression,
  literal,
  type Rule,
  repeat,
  rule,
  sequence,
} from "./expression.ts";

const REPETITIONS: Readonly<Record<string, readonly [number, number]>> = {
  "*": [0, Number.POSITIVE_INFINITY],
  "+": [1, Number.POSITIVE_INFINITY],
  "?": [0, 1],
};

const ESCAPES: Readonly<Record<string, string>> = { n: "\n", r: "\r", t: "\t" };

/** Digits behind an escape that gives a character by its number. */
const NUMBERED: Readonly<Record<string, number>> = { x: 2, u: 4, U: 8 };

/**
 * The expression of the rule `root`.
 *
 * @param where the grammar's file or option, for errors; line and column follow it
 * @throws TunesmithError (config) for a grammar that cannot be read, and for rules that are mentioned
 *   and nowhere defined
 */
export function gbnfExpression(grammar: string, where: string): Expression {
  const rules = new Map<string, Rule>();
  const mentions = new Map<string, number>();
  const defined = new Set<string>();
  let at = 0;

  const fault = (rule: string, seen: string, fix: string, position = at): never => {
    const lines = grammar.slice(0, position).split("\n");
    throw new TunesmithError("config", {
      where: `${where}, line ${lines.length}, column ${lines.at(-1)!.length + 1}`,
      rule,
      seen,
      fix,
    });
  };
  const here = () => (at < grammar.length ? JSON.stringify(grammar.slice(at, at + 12)) : "the end");
  /** Takes what a pattern matches at this place. */
  const take = (pattern: RegExp): string | undefined => {
    const sticky = new RegExp(pattern.source, `${pattern.flags}uy`);
    sticky.lastIndex = at;
    const found = sticky.exec(grammar)?.[0];
    if (found !== undefined) at += found.length;
    return found;
  };
  const expect = (text: string, rule: string): void => {
    if (grammar.startsWith(text, at)) at += text.length;
    else fault(rule, here(), `write ${text} there`);
  };
  /** Space and comments; line breaks too where the rule cannot end there. */
  const skip = (lines: boolean) => take(lines ? /(?:\s|#[^\n]*)*/ : /(?:[ \t]|#[^\n]*)*/);

  const ruleOf = (name: string): Rule => {
    const existing = rules.get(name) ?? rule(name);
    rules.set(name, existing);
    return existing;
  };
  const alternatives = (nested: boolean): Expression => {
    const options = [items(nested)];
    while (grammar[at] === "|") {
      at++;
      skip(true);
      options.push(items(nested));
    }
    return choice(...options);
  };
  const items = (nested: boolean): Expression => {
    const parts: Expression[] = [];
    for (let part = item(); part !== undefined; part = item()) {
      parts.push(repeated(part));
      skip(nested);
    }
    return sequence(...parts);
  };
  const item = (): Expression | undefined => {
    const name = take(/[a-zA-Z0-9_-]+/);
    if (name !== undefined) {
      if (!mentions.has(name)) mentions.set(name, at - name.length);
      return call(ruleOf(name));
    }
    switch (grammar[at]) {
      case '"':
        at++;
        return literal(
          characters('"')
            .map(([first]) => String.fromCodePoint(first))
            .join(""),
        );
      case "[":
        at++;
        return characterClass();
      case ".":
        at++;
        return { kind: "character", set: ANY_CHARACTER };
      case "(": {
        at++;
        skip(true);
        const group = alternatives(true);
        expect(")", "a group ends with )");
        return group;
      }
      case "<":
        return fault("a grammar speaks of characters, not of tokens", here(), "write the text");
      default:
        return undefined;
    }
  };
  const characterClass = (): Expression => {
    const negated = take(/\^/) !== undefined;
    const set = codePoints(characters("]"));
    return { kind: "character", set: negated ? complement(set) : set };
  };
  /** Characters, and in classes ranges of them, up to a closing mark. */
  const characters = (close: '"' | "]"): CodePointRange[] => {
    const ranges: CodePointRange[] = [];
    while (grammar[at] !== close) {
      const first = oneCharacter(close);
      const isRange = close === "]" && grammar[at] === "-" && grammar[at + 1] !== "]";
      if (isRange) at++;
      const last = isRange ? oneCharacter(close) : first;
      if (last < first) fault("a range goes upwards", grammar.slice(at - 3, at), "swap its ends");
      ranges.push([first, last]);
    }
    at++;
    return ranges;
  };
  const oneCharacter = (close: string): number => {
    const plain = take(/[^\\\n]/);
    if (plain !== undefined) return plain.codePointAt(0)!;
    if (grammar[at] !== "\\")
      fault(`${close} ends what was begun, on the same line`, here(), `write ${close}`);
    at++;
    const kind = take(/./s) ?? "";
    const digits = NUMBERED[kind];
    if (digits === undefined) {
      if (kind in ESCAPES || /[\\"[\]^-]/.test(kind))
        return (ESCAPES[kind] ?? kind).codePointAt(0)!;
      return fault(
        'escapes are \\n \\r \\t \\\\ \\" \\[ \\] \\x41 \\u0041 \\U00000041',
        `\\${kind}`,
        "use one of them",
      );
    }
    const number =
      take(new RegExp(`[0-9a-fA-F]{${digits}}`)) ??
      fault(`\\${kind} has ${digits} hexadecimal digits`, here(), "write them all");
    return Number.parseInt(number, 16);
  };
  const repeated = (part: Expression): Expression => {
    const sign = take(/[*+?]/);
    if (sign !== undefined) return repeated(repeat(part, ...REPETITIONS[sign]!));
    const bounds = take(/\{\s*\d+\s*(?:,\s*\d*\s*)?\}/);
    if (bounds === undefined) return part;
    const [least, most = least] = bounds
      .slice(1, -1)
      .split(",")
      .map((text) => text.trim());
    return repeated(
      repeat(part, Number(least), most === "" ? Number.POSITIVE_INFINITY : Number(most)),
    );
  };

  skip(true);
  while (at < grammar.length) {
    const begin = at;
    const name =
      take(/[a-zA-Z0-9_-]+/) ?? fault("a rule begins with its name", here(), "write name ::= …");
    skip(false);
    expect("::=", "behind a rule's name stands ::=");
    if (defined.has(name)) fault("a rule is defined once", name, "rename one of them", begin);
    defined.add(name);
    skip(true);
    ruleOf(name).body = alternatives(false);
    if (at < grammar.length && grammar[at] !== "\n" && grammar[at] !== "\r")
      fault(
        'a rule is made of "text", [classes], names, groups, | and repetitions',
        here(),
        "correct it",
      );
    skip(true);
  }
  for (const [name, position] of mentions)
    if (!defined.has(name)) {
      const close = nearest(name, defined);
      fault(
        "every rule that is mentioned is defined",
        name,
        close ? `write ${close}, or define it` : "define it",
        position,
      );
    }
  const root = defined.has("root") ? rules.get("root") : undefined;
  return call(
    root ??
      fault(
        "the rule named root is the answer",
        [...defined].join(", ") || "no rules",
        "name one of them root",
        0,
      ),
  );
}
