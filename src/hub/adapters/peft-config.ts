// `adapter_config.json`, the description of an adapter: found and read as it stands (what its keys mean
// is the method's business), written as Python's `json.dumps(indent=2, sort_keys=True)` would.

import { join } from "node:path";
import { writeFileAtomically } from "../atomic-file.ts";
import { type JsonObject, readJsonObject } from "../json-file.ts";
import { spellingOf } from "../number-spelling.ts";
import { ADAPTER_CONFIG, notAnAdapter } from "./not-an-adapter.ts";

/** The release whose files these are; PEFT writes its own version into the same key. */
export const PEFT_VERSION = "0.21.2";

/** Of what is written anew, Python writes these as floats, `0.0` where JavaScript would write `0`. */
const FLOAT_KEYS = new Set([
  "boft_dropout",
  "d_initial",
  "dropout",
  "encoder_dropout",
  "global_scaling_weight",
  "jitter_noise",
  "lora_dropout",
  "miss_dropout",
  "module_dropout",
  "rank_dropout",
  "router_aux_loss_coef",
  "router_init_range",
  "scaling",
  "scaling_pass_value",
  "softmax_temperature",
  "stochastic_depth",
  "vera_dropout",
  "xlora_dropout_p",
]);

/** Reads an adapter folder's configuration. Throws a TunesmithError ("checkpoint") where there is none. */
export async function readPeftConfig(folder: string): Promise<JsonObject> {
  const value = await readJsonObject(join(folder, ADAPTER_CONFIG));
  if (!value) throw notAnAdapter(folder);
  return value;
}

/** Writes an adapter folder's configuration, marked as PEFT marks saved ones (`inference_mode`). */
export async function writePeftConfig(folder: string, config: JsonObject): Promise<void> {
  const text = pythonJson({ ...config, inference_mode: true });
  await writeFileAtomically(join(folder, ADAPTER_CONFIG), text);
}

/** JSON as Python writes it with `indent=2, sort_keys=True`: keys sorted, other than ASCII escaped. */
export function pythonJson(value: JsonObject): string {
  return serialize(value, "", () => undefined).replace(
    /[\u007f-\uffff]/g,
    (unit) => `\\u${unit.charCodeAt(0).toString(16).padStart(4, "0")}`,
  );
}

/** @param spell how the holder of a number spells it */
function serialize(
  value: unknown,
  indent: string,
  spell: (number: number) => string | undefined,
): string {
  const inner = `${indent}  `;
  if (Array.isArray(value)) {
    if (value.length === 0) return "[]";
    const items = value.map(
      (item, i) => inner + serialize(item, inner, (number) => spellingOf(value, `${i}`, number)),
    );
    return `[\n${items.join(",\n")}\n${indent}]`;
  }
  if (typeof value === "object" && value !== null) {
    const entries = Object.entries(value).sort(([a], [b]) => (a < b ? -1 : 1));
    if (entries.length === 0) return "{}";
    const items = entries.map(
      ([name, item]) =>
        `${inner}${JSON.stringify(name)}: ${serialize(item, inner, spellingIn(value, name))}`,
    );
    return `{\n${items.join(",\n")}\n${indent}}`;
  }
  return (typeof value === "number" ? spell(value) : undefined) ?? JSON.stringify(value);
}

const spellingIn = (holder: object, key: string) => (number: number) =>
  spellingOf(holder, key, number) ??
  (FLOAT_KEYS.has(key) && Number.isInteger(number) ? `${number}.0` : undefined);
