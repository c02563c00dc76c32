// What an answer may look like, as data: the one form that regular expressions, grammars and JSON
// schemas are all translated to.

import { type CodePointRange, type CodePoints, codePoints } from "./code-points.ts";
import type { ByteRange } from "./utf8-ranges.ts";

export type Expression =
  /** One character of a set. */
  | { readonly kind: "character"; readonly set: CodePoints }
  /** One byte of several ranges, where characters have been taken apart already. */
  | { readonly kind: "bytes"; readonly ranges: readonly ByteRange[] }
  | { readonly kind: "sequence"; readonly parts: readonly Expression[] }
  | { readonly kind: "choice"; readonly options: readonly Expression[] }
  | {
      readonly kind: "repeat";
      readonly part: Expression;
      readonly least: number;
      /** May be Infinity. */
      readonly most: number;
    }
  | { readonly kind: "rule"; readonly rule: Rule };

/** A named expression, which may mention itself; its body is set once everything it mentions exists. */
export interface Rule {
  readonly name: string;
  body: Expression;
}

/** Matches the empty text alone. */
export const EMPTY: Expression = { kind: "sequence", parts: [] };

/** Matches nothing, not even the empty text. */
export const NOTHING: Expression = { kind: "choice", options: [] };

export const sequence = (...parts: Expression[]): Expression =>
  parts.length === 1 ? parts[0]! : { kind: "sequence", parts };

export const choice = (...options: Expression[]): Expression =>
  options.length === 1 ? options[0]! : { kind: "choice", options };

export const optional = (part: Expression): Expression => choice(part, EMPTY);

export const repeat = (
  part: Expression,
  least = 0,
  most = Number.POSITIVE_INFINITY,
): Expression => ({ kind: "repeat", part, least, most });

export const character = (...ranges: CodePointRange[]): Expression => ({
  kind: "character",
  set: codePoints(ranges),
});

/** The text itself. */
export const literal = (text: string): Expression =>
  sequence(
    ...[...text].map((letter) => character([letter.codePointAt(0)!, letter.codePointAt(0)!])),
  );

export const call = (rule: Rule): Expression => ({ kind: "rule", rule });

/** A rule of the given body; without one, it matches nothing until its body is set. */
export const rule = (name: string, body: Expression = NOTHING): Rule => ({ name, body });
