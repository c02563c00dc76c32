// Numbers as the file spells them that they were read from. JavaScript has one kind of number and writes
// 0 for 0.0, where Transformers insists on a float; so what is rewritten keeps its spelling.

/** JavaScript's own since Node 22, which TypeScript does not know yet. */
const { rawJSON } = JSON as unknown as { rawJSON(text: string): unknown };

/** By key, the spelling of an object's or a list's numbers where JavaScript's own is another. */
const SPELLING = Symbol("spelling of numbers");

interface Spelled {
  [SPELLING]?: Record<string, string>;
}

/** `JSON.parse` whose objects, and copies made of them by spreading, know how `toJson` spells them. */
export function parseSpelled(text: string): unknown {
  const note = function (this: Spelled, key: string, value: unknown, context: { source: string }) {
    if (typeof value === "number" && String(value) !== context.source) {
      this[SPELLING] ??= {};
      this[SPELLING][key] = context.source;
    }
    return value;
  };
  return JSON.parse(text, note as (this: unknown, key: string, value: unknown) => unknown);
}

/** The spelling of a number in `holder`, as long as it is still the number that was read. */
export function spellingOf(holder: object, key: string, value: number): string | undefined {
  const spelling = (holder as Spelled)[SPELLING];
  if (!spelling || !Object.hasOwn(spelling, key)) return undefined;
  return Number(spelling[key]) === value ? spelling[key] : undefined;
}

/** The text of a JSON file, two spaces a level. */
export function toJson(value: object): string {
  const spell = function (this: object, key: string, item: unknown) {
    const spelling = typeof item === "number" ? spellingOf(this, key, item) : undefined;
    return spelling === undefined ? item : rawJSON(spelling);
  };
  return `${JSON.stringify(value, spell, 2)}\n`;
}

/** A copy in which whole numbers under these keys are spelled as floats. */
export function withFloats<Value extends object>(value: Value, keys: readonly string[]): Value {
  const entries = Object.entries(value).filter(
    ([key, item]) => keys.includes(key) && Number.isInteger(item),
  );
  const floats = Object.fromEntries(entries.map(([key, item]) => [key, `${item}.0`]));
  return { ...value, [SPELLING]: { ...(value as Spelled)[SPELLING], ...floats } };
}
