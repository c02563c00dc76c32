// A model of the hub on this disk: which files of its repository it is loaded from.

import { join } from "node:path";
import { TunesmithError } from "../../errors.ts";
import { type DownloadOptions, fetchRepository } from "./fetch-repository.ts";
import { exists } from "./hub-cache.ts";
import { type HubReference, noSuchModel, parseHubReference } from "./model-reference.ts";

/**
 * The local folder or `.gguf` file of a model. A path that exists wins; else a hub id
 * (`owner/name`, `owner/name@revision`, `owner/name/file.gguf`, with or without `hf://`) is
 * downloaded unless the cache holds it. Throws a TunesmithError for what is neither.
 *
 *     const folder = await resolveModel("HuggingFaceTB/SmolLM2-135M-Instruct");
 */
export async function resolveModel(
  reference: string,
  options: DownloadOptions = {},
): Promise<string> {
  if (await exists(reference)) return reference;
  const parsed = parseHubReference(reference);
  if (!parsed) throw await noSuchModel(reference);
  const { folder } = await fetchRepository(
    {
      kind: "model",
      reference,
      ...parsed,
      choose: async (paths) => chooseFiles(parsed, paths),
    },
    options,
  );
  return parsed.file === undefined ? folder : join(folder, parsed.file);
}

const DESCRIPTION_FILES = new Set([
  "config.json",
  "generation_config.json",
  "tokenizer.json",
  "tokenizer_config.json",
  "ice_text.model",
  "special_tokens_map.json",
  "chat_template.jinja",
  "preprocessor_config.json",
  "processor_config.json",
  "model.safetensors.index.json",
]);

/** The files that a model is loaded from: no pickles, no copies in other formats, no subfolders. */
function chooseFiles({ repository, file }: HubReference, paths: readonly string[]): string[] {
  if (file !== undefined) {
    if (paths.includes(file)) return [file];
    throw fault(`hf://${repository}`, "the repository must hold the file", `no "${file}"`, {
      fix: "look at the repository's list of files",
    });
  }
  const top = paths.filter((path) => !path.includes("/"));
  const weights = top.includes("model.safetensors")
    ? ["model.safetensors"]
    : top.filter((path) => /^model-\d+-of-\d+\.safetensors$/.test(path));
  if (weights.length > 0) return [...top.filter((path) => DESCRIPTION_FILES.has(path)), ...weights];
  const ggufs = top.filter((path) => path.endsWith(".gguf"));
  if (ggufs.length === 1) return ggufs;
  const pickle = top.find((path) => /\.(bin|pt|pth)$/.test(path));
  if (ggufs.length > 1)
    throw fault(`hf://${repository}`, "one GGUF file is one model", `${ggufs.length} of them`, {
      fix: `name one, e.g. ${repository}/${ggufs[0]}`,
    });
  throw fault(
    `hf://${repository}`,
    "weights are safetensors or GGUF; pickle files can run code and are never opened",
    pickle ? `only the pickle file "${pickle}"` : "no weights in the repository",
    { fix: "choose a repository or a revision with safetensors" },
  );
}

function fault(where: string, rule: string, seen: string, { fix }: { fix: string }) {
  return new TunesmithError("checkpoint", { where, rule, seen, fix });
}
