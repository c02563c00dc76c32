// An adapter for more tokens than its base's files have. PEFT keeps the whole embedding beside such an
// adapter (`save_embedding_layers`), and who trains it the tokenizer; with both, the base becomes what
// the adapter was trained on.

import { existsSync } from "node:fs";
import { join } from "node:path";
import { TunesmithError } from "../../errors.ts";
import {
  type Adapter,
  type AdapterTensor,
  type Checkpoint,
  createTokenizer,
  type NewTokens,
  readTokenizerFolder,
  type Tokenizer,
} from "../../hub/index.ts";
import type { BoundMethod } from "../../methods/index.ts";
import { architectureFor, type BoundArchitecture } from "../../models/index.ts";
import type { MethodParts } from "../computed-tensors.ts";
import { enlargedCheckpoint, meanRow } from "../weights/new-tokens.ts";

/** Where PEFT's files have a module's own tensors, in the order in which they are looked for. */
const PLACES = ["token_adapter.base_layer.", "base_layer.", "original_module.", ""] as const;
type Place = (typeof PLACES)[number];

/** The parts of a module that have a row for every token. */
type Part = "weight" | "bias";

const keyOf = (path: string, place: Place, part: Part) =>
  `base_model.model.${path}.${place}${part}`;
const pathOf = (name: string) => name.replace(/\.weight$/, "");

/**
 * Whether a tensor of an adapter's file is of the base, or says once more what another one says: PEFT
 * repeats what it trains as a whole, and of a tied output matrix its rows.
 */
export function isOfBase(
  key: string,
  { embeddingName, outputName, outputPath }: BoundArchitecture,
): boolean {
  const prefixes = [pathOf(embeddingName), outputPath].flatMap((path) =>
    [...PLACES, "modules_to_save."].map((place) => `base_model.model.${path}.${place}`),
  );
  const tiedRows = `base_model.model.${outputPath}.token_adapter.trainable_tokens_delta`;
  if (outputName === embeddingName && key === tiedRows) return true;
  return prefixes.some((prefix) => key === `${prefix}weight` || key === `${prefix}bias`);
}

/**
 * What is saved beside an adapter for more tokens: embedding and output module as they were before it, under
 * PEFT's names. What the adapter trains as a whole is in its file already; a tied output matrix is the
 * embedding, and PEFT reads it so where the file has it once.
 */
export function ownEmbedding({ architecture, method, weights }: MethodParts) {
  const { embeddingName, outputName, outputPath, classifier } = architecture;
  const kept = new Map<string, AdapterTensor>();
  const keep = (path: string, part: Part, name: string) => {
    const spec = architecture.weights.find((weight) => weight.name === name);
    if (!spec || method?.replaces.has(`${path}.${part}`)) return;
    const data = weights.copy(name);
    kept.set(keyOf(path, placeIn(method, path), part), { shape: spec.shape, data });
  };
  keep(pathOf(embeddingName), "weight", embeddingName);
  if (classifier) return kept;
  if (outputName !== embeddingName) keep(outputPath, "weight", outputName);
  keep(outputPath, "bias", `${outputPath}.bias`);
  return kept;
}

function placeIn(method: BoundMethod | undefined, path: string): Place {
  if (method?.tokenRows?.has(path)) return "token_adapter.base_layer.";
  return method?.adapted?.includes(path) ? "base_layer." : "";
}

const storedPart = ({ tensors }: Adapter, path: string, part: Part = "weight") =>
  PLACES.map((place) => tensors.get(keyOf(path, place, part))).find((tensor) => tensor);

/**
 * How many tokens the adapter's base had, where its file tells: by the modules that have a row for every
 * token, or by its LoRA on one of them.
 */
export function tokenCountOf(
  adapter: Adapter,
  { embeddingName, outputPath, classifier }: BoundArchitecture,
): number | undefined {
  const { tensors } = adapter;
  const embedding = pathOf(embeddingName);
  const counts = [
    storedPart(adapter, embedding)?.shape[0],
    tensors.get(`base_model.model.${embedding}.lora_embedding_A`)?.shape[1],
  ];
  if (!classifier)
    counts.push(
      storedPart(adapter, outputPath)?.shape[0],
      tensors.get(`base_model.model.${outputPath}.lora_B.weight`)?.shape[0],
    );
  return counts.find((count) => count !== undefined);
}

/**
 * The base with as many tokens as the adapter was trained with, and with the tokenizer of its folder
 * where there is one; the base itself where the adapter has nothing of its own.
 * @param warn told of rows that the adapter's file lacks
 */
export async function withTokensOf(
  adapter: Adapter,
  folder: string,
  base: Checkpoint,
  warn: (warning: string) => void = () => {},
): Promise<Checkpoint> {
  const architecture = architectureFor(base.config, `${base.source}/config.json`);
  const { embeddingName, outputName, dimensions, classifier } = architecture;
  const tokenizer = existsSync(join(folder, "tokenizer.json"))
    ? await readTokenizerFolder(folder)
    : undefined;
  const { vocabularySize } = dimensions;
  const rows = Math.max(tokenCountOf(adapter, architecture) ?? 0, vocabularySize);
  if (!tokenizer && rows === vocabularySize) return base;
  const stored = (name: string) => {
    const part = name.endsWith(".bias") ? "bias" : "weight";
    const found = storedPart(adapter, name.slice(0, -part.length - 1), part);
    return found?.shape[0] === rows ? found : undefined;
  };
  const matrices = new Set(classifier ? [embeddingName] : [embeddingName, outputName]);
  const missing = [...matrices].filter((name) => rows > vocabularySize && !stored(name));
  // PEFT saves no module beside LoRA on another one of the two.
  if (missing.length > 0)
    warn(
      `${folder}: the file lacks ${missing.join(" and ")} for tokens from ${vocabularySize} on. Rows that ` +
        "it does not train are the mean of the base's here; Transformers draws them near that mean",
    );
  return enlargedCheckpoint(base, {
    rows,
    ids: [],
    tokenizer,
    roles: tokenizer ? await changedRoles(createTokenizer(tokenizer), base) : {},
    newRows: (old, width, name) => stored(name)?.data.subarray(old.length) ?? meanRow(old, width),
  });
}

const ROLES = {
  pad_token_id: "padTokenId",
  eos_token_id: "eosTokenId",
  bos_token_id: "bosTokenId",
} as const satisfies Record<string, keyof Tokenizer>;

/** The tokens that pad, end and begin texts, where they are others than the base's. */
async function changedRoles(own: Tokenizer, base: Checkpoint): Promise<Record<string, number>> {
  const before = await base.loadTokenizer().catch(() => undefined);
  const changed = Object.entries(ROLES).flatMap(([key, role]) => {
    const id = own[role];
    return id === undefined || id === before?.[role] ? [] : [[key, id] as const];
  });
  return Object.fromEntries(changed);
}

/**
 * @param warn told of tokens that are half trained
 * @throws TunesmithError (config) for new tokens about which nothing would be learned, and for a method
 *   whose files have no place for a longer embedding
 */
export function checkNewTokens(
  method: BoundMethod,
  { ids, isGrown }: NewTokens,
  architecture: BoundArchitecture,
  warn: (warning: string) => void = () => {},
): void {
  const { embeddingName, outputName, outputPath, classifier } = architecture;
  const paths = [pathOf(embeddingName)];
  if (outputName !== embeddingName && !classifier) paths.push(outputPath);
  const isTrained = (path: string) => {
    const rows = method.tokenRows?.get(path);
    if (rows) return ids.every((id) => rows.includes(id));
    return method.replaces.has(`${path}.weight`) || method.adapted?.includes(path) === true;
  };
  const names = paths.map((path) => path.split(".").at(-1)!);
  const idle = names.filter((_, i) => !isTrained(paths[i]!));
  const fault = (rule: string, seen: string, fix: string) =>
    new TunesmithError("config", { where: "tokens", rule, seen, fix });
  const rows = JSON.stringify(Object.fromEntries(names.map((name) => [name, ids])));
  if (ids.length > 0 && idle.length === paths.length)
    throw fault(
      "something is learned about a new token",
      `method ${method.name}, which trains nothing of ${idle.join(" and ")}`,
      `use method lora with trainableTokens: ${rows} or modulesToSave: ${JSON.stringify(names)}, or method full`,
    );
  const foreign = method.parameters.find(({ key }) => !key.startsWith("base_model.model."));
  if (isGrown && method.saved !== "checkpoint" && foreign)
    throw fault(
      "an adapter for more tokens keeps the longer embedding in its file",
      `method ${method.name}, whose files have no place for it`,
      "use method lora or full",
    );
  if (ids.length > 0 && idle.length > 0)
    warn(
      `tokens: nothing of ${idle.join(" and ")} is trained, so that new tokens are ` +
        `${idle[0] === names[0] ? "written but not read" : "read but not written"} as they were learned`,
    );
}
