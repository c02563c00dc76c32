// JSON Schema's `format` for strings, as patterns: narrower than the standards where those cannot be
// told character by character, so that whatever is written is valid.

const TIME = String.raw`([01]\d|2[0-3]):[0-5]\d:[0-5]\d(\.\d{1,6})?`;
const OFFSET = String.raw`(Z|[+-]([01]\d|2[0-3]):[0-5]\d)`;
/** The 29th of February is left out: it asks which year it is. */
const DATE = String.raw`\d{4}-((0[13578]|1[02])-(0[1-9]|[12]\d|3[01])|(0[469]|11)-(0[1-9]|[12]\d|30)|02-(0[1-9]|1\d|2[0-8]))`;
/** Without two hyphens in a row, which stand for letters that are not ASCII. */
const label = (more: string) => `[a-zA-Z0-9](-?[a-zA-Z0-9])${more}`;
const labels = (more: string, others: string) => `${label(more)}(\\.${label(more)})${others}`;
const BYTE = String.raw`(25[0-5]|2[0-4]\d|1\d\d|[1-9]?\d)`;
const GROUP = "[0-9a-fA-F]{1,4}";
const segments = (each: string, others: string) =>
  `[a-zA-Z0-9._~-]${each}(/[a-zA-Z0-9._~-]${each})${others}/?`;
const query = (most: string) => String.raw`(\?[a-zA-Z0-9._~=&-]${most})?`;
const uri = (host: string, path: string, behind: string) =>
  String.raw`https?://${host}(:[1-9]\d{0,3})?(/(${path})?)?${behind}`;
const email = (name: string, names: string, domain: string) =>
  String.raw`[a-zA-Z0-9_+-]${name}(\.[a-zA-Z0-9_+-]${name})${names}@${domain}\.[a-zA-Z]{2,10}`;
const PATH = segments("{1,40}", "{0,7}");
const QUERY = query("{0,80}");
const URI = uri(labels("{0,20}", "{0,4}"), PATH, QUERY);
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
  duration: `P(\\d{1,9}W|(${units("YMD")})(T(${units("HMS")}))?|T(${units("HMS")}))`,
  email: email("{1,30}", "{0,3}", labels("{0,20}", "{0,3}")),
  hostname: labels("{0,20}", "{0,4}"),
  ipv4: String.raw`${BYTE}\.${BYTE}\.${BYTE}\.${BYTE}`,
  ipv6: `(${GROUP}:){7}${GROUP}|(${GROUP}:){1,6}:${GROUP}|::(${GROUP}:){0,5}${GROUP}`,
  uri: URI,
  "uri-reference": `${URI}|/?${PATH}${QUERY}`,
  "json-pointer": "(/([^~/]|~[01]){0,40}){0,10}",
  uuid: "[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}",
};

const LONG_PATH = segments("+", "*");
const LONG_QUERY = query("*");
const LONG_URI = uri(labels("{0,12}", "{0,3}"), LONG_PATH, LONG_QUERY);

/**
 * The same for strings whose length a schema bounds: where a pattern counts, one that leaves counting to the
 * length, since both at once come to too many states; and the length up to which it holds. Names of hosts
 * have parts of 63 characters, those before an @ have 64.
 */
export const MEASURED_FORMATS: Readonly<
  Record<string, { readonly pattern: string; readonly most: number }>
> = {
  email: { pattern: email("+", "*", labels("*", "*")), most: 64 },
  hostname: { pattern: labels("*", "*"), most: 63 },
  uri: { pattern: LONG_URI, most: 400 },
  "uri-reference": { pattern: `${LONG_URI}|/?${LONG_PATH}${LONG_QUERY}`, most: 400 },
  "json-pointer": { pattern: "(/([^~/]|~[01])*)*", most: 400 },
};
