// Whether an adapter names the model that it is put on. Names differ for good reasons too (a folder that
// was renamed, a copy), so another one is worth a word and is no fault.

import { type JsonObject, namedBase } from "../../hub/index.ts";

/** What a GGUF file's name has behind the model's: `.Q4_K_M.gguf`, `-f16.gguf`. */
const GGUF_ENDING = /([.-](i?q\d\w*|b?f16|f32))?\.gguf$/;

/**
 * The last part of a model's path or hub id as names are compared: `models/SmolLM2.Q8_0.gguf` is
 * `smollm2`.
 */
function comparableName(reference: string): string {
  const path = reference.replaceAll("\\", "/").replace(/\/+$/, "");
  // In the hub's cache the last part is a commit: models--owner--name/snapshots/<commit>.
  const cached = /models--(?:[^/]+--)?([^/]+)\/snapshots\/[^/]+$/.exec(path)?.[1];
  const isFile = path.toLowerCase().endsWith(".gguf");
  const name = (!isFile && cached) || path.split("/").at(-1)!;
  return name.toLowerCase().replace(GGUF_ENDING, "");
}

/**
 * One line for whoever puts an adapter on another model than it names; undefined where the names agree,
 * or where it names none.
 * @param base the model's folder or file, and its configuration, where some checkpoints have their name
 */
export function otherBaseWarning(
  adapter: { readonly config: JsonObject; readonly folder: string },
  base: { readonly config: JsonObject; readonly source: string },
): string | undefined {
  const wanted = namedBase(adapter.config);
  if (wanted === undefined) return undefined;
  const { _name_or_path: ownName } = base.config;
  const names = [base.source, ...(typeof ownName === "string" ? [ownName] : [])];
  if (names.map(comparableName).includes(comparableName(wanted))) return undefined;
  return `${adapter.folder} was trained on ${wanted} and is put on ${base.source}: if that is another model, expect nonsense, and use the adapter with its own`;
}
