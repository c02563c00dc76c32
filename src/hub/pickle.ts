// Pickle files (`.bin`, `.pt`, …) can run any code while they are read, so tunesmith refuses them by
// name, unread, and says how to turn them into safetensors.

import { basename } from "node:path";
import { TunesmithError } from "../errors.ts";

const PICKLE_NAME = /\.(bin|pt|pth|pkl|pickle|ckpt)$/i;

/** True for the file names under which PyTorch saves pickles. */
export function isPickle(path: string): boolean {
  return PICKLE_NAME.test(path);
}

/**
 * The error for a pickle where weights were looked for.
 * @param kind what the file was to be; for an adapter, the name that it should have instead
 */
export function pickleRefused(
  path: string,
  kind: "model" | { readonly adapter: string } = "model",
): TunesmithError {
  const name = basename(path);
  return new TunesmithError("checkpoint", {
    where: path,
    rule: "weights are safetensors or GGUF; pickle files can run code and are never opened",
    seen: `the pickle file "${name}"`,
    fix:
      kind === "model"
        ? "look for a safetensors revision of the model, or convert it where you trust it: Python, " +
          "AutoModelForCausalLM.from_pretrained(DIR).save_pretrained(OUT, safe_serialization=True)"
        : "convert it where you trust it: Python, safetensors.torch.save_file({k: v.clone() for k, v in " +
          `torch.load("${name}", weights_only=True).items()}, "${kind.adapter}", ` +
          'metadata={"format": "pt"})',
  });
}
