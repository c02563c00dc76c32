// Strings of a schema: of some length, of a pattern, of a known format, or of several of them at once.

import { ANY_CHARACTER } from "./code-points.ts";
import { type Expression, NOTHING, repeat } from "./expression.ts";
import { ANY_OF_TYPE, inString, quoted, stringOfLength } from "./json-text.ts";
import { regexExpression } from "./regex.ts";
import { both } from "./regular.ts";
import type { TypeReader } from "./schema-reader.ts";
import { MEASURED_FORMATS, STRING_FORMATS } from "./string-formats.ts";

export const readString: TypeReader = (part, { faults }) => {
  const { pattern, format } = part as { pattern?: string; format?: string };
  const least = (part.minLength ?? 0) as number;
  const most = (part.maxLength ?? Number.POSITIVE_INFINITY) as number;
  if (least > most) {
    const seen = `${least} and ${most}`;
    faults.note(part, "minLength", "minLength is at most maxLength", seen, "correct one of them");
    return NOTHING;
  }
  const isOfAnyLength = least === 0 && most === Number.POSITIVE_INFINITY;
  const options = { where: `${faults.placeOf(part)}/pattern`, write: inString };
  return faults.caught(() => {
    const contents: Expression[] = [];
    if (pattern !== undefined)
      contents.push(regexExpression(pattern, { ...options, searches: true }));
    const measured = isOfAnyLength || format === undefined ? undefined : MEASURED_FORMATS[format];
    if (format !== undefined)
      contents.push(regexExpression(measured?.pattern ?? STRING_FORMATS[format]!, options));
    if (contents.length === 0)
      return isOfAnyLength ? ANY_OF_TYPE.string : stringOfLength(least, most);
    // Each character is spelled in one way, so that spellings fit both where texts do.
    if (!isOfAnyLength)
      contents.push(repeat(inString(ANY_CHARACTER), least, Math.min(most, measured?.most ?? most)));
    return quoted(contents.reduce((all, each) => both(all, each, faults.placeOf(part))));
  }, NOTHING);
};
