// Arrays of a schema: first items that have a schema each, then others that share one.

import { choice, type Expression, literal, NOTHING, repeat, sequence } from "./expression.ts";
import { COMMA, joined, list } from "./json-text.ts";
import type { JsonSchema } from "./schema-keywords.ts";
import type { TypeReader } from "./schema-reader.ts";

export const readArray: TypeReader = (part, { of, faults }) => {
  const first = ((part.prefixItems ?? []) as JsonSchema[]).map(of);
  const least = (part.minItems ?? 0) as number;
  const most = (part.maxItems ?? Number.POSITIVE_INFINITY) as number;
  if (least > most) {
    const seen = `${least} and ${most}`;
    faults.note(part, "minItems", "minItems is at most maxItems", seen, "correct one of them");
    return NOTHING;
  }
  // Behind prefixItems nothing comes unless items says so, or minItems asks for it.
  const silent = first.length > 0 && part.items === undefined && least <= first.length;
  const item = of((part.items ?? true) as JsonSchema);
  const prefix = first.slice(0, most);
  const more = silent ? 0 : most - prefix.length;
  const fewest = Math.max(0, least - prefix.length);
  const others = (fewer: number): Expression =>
    repeat(sequence(COMMA, item), Math.max(0, fewest - fewer), more - fewer);
  if (prefix.length > 0) return list("[", sequence(joined(prefix), others(0)), "]");
  const empty = least === 0 ? literal("[]") : NOTHING;
  return more === 0 ? empty : choice(empty, list("[", sequence(item, others(1)), "]"));
};
