// JSON Schema's `format` for strings, as patterns: narrower than the standards where those cannot be
// told character by character, so that whatever is written is valid.

const TIME = String.raw`([01]\d|2[0-3]):[0-5]\d:[0-5]\d(\.\d{1,6})?`;
const OFFSET = String.raw`(Z|[+-]([01]\d|2[0-3]):[0-5]\d)`;
/** The 29th of February is left out: it asks which year it is. */
const DATE = String.raw`\d{4}-((0[13578]|1[02])-(0[1-9]|[12]\d|3[01])|(0[469]|11)-(0[1-9]|[12]\d|30)|02-(0[1-9]|1\d|2[0-8]))`;
/** Without two hyphens in a row, which stand for letters that are not ASCII. */
const LABEL = "[a-zA-Z0-9](-?[a-zA-Z0-9]){0,20}";
const HOST = `${LABEL}(\\.${LABEL}){0,4}`;
const BYTE = String.raw`(25[0-5]|2[0-4]\d|1\d\d|[1-9]?\d)`;
const SEGMENTS = "[a-zA-Z0-9._~-]{1,40}(/[a-zA-Z0-9._~-]{1,40}){0,7}/?";
const QUERY = String.raw`(\?[a-zA-Z0-9._~=&-]{0,80})?`;
const URI = String.raw`https?://${HOST}(:[1-9]\d{0,3})?(/(${SEGMENTS})?)?${QUERY}`;
const GROUP = "[0-9a-fA-F]{1,4}";
/** Units from a larger one down, none left out between two of them. */
const units = (names: string) =>
  [...names]
    .map((_, from) =>
      [...names.slice(from)].reduceRight(
        (smaller, unit) => `\\d{1,9}${unit}${smaller === "" ? "" : `(${smaller})?`}`,
        "",
      ),
    )
    .join("|");

/** Pattern of each format, for the whole string. */
export const STRING_FORMATS: Readonly<Record<string, string>> = {
  date: DATE,
  time: TIME + OFFSET,
  "date-time": `${DATE}T${TIME}${OFFSET}`,
  email: String.raw`[a-zA-Z0-9_+-]{1,30}(\.[a-zA-Z0-9_+-]{1,30}){0,3}@${LABEL}(\.${LABEL}){0,3}\.[a-zA-Z]{2,10}`,
  hostname: HOST,
  ipv4: String.raw`${BYTE}\.${BYTE}\.${BYTE}\.${BYTE}`,
  ipv6: `(${GROUP}:){7}${GROUP}|(${GROUP}:){1,6}:${GROUP}|::(${GROUP}:){0,5}${GROUP}`,
  uri: URI,
  "uri-reference": `${URI}|/?${SEGMENTS}${QUERY}`,
  uuid: "[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}",
  duration: `P(\\d{1,9}W|(${units("YMD")})(T(${units("HMS")}))?|T(${units("HMS")}))`,
  "json-pointer": "(/([^~/]|~[01]){0,40}){0,10}",
};
