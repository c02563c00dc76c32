// Opens a model's weights and configuration, whichever kind of files hold them: a Hugging Face folder
// (one safetensors file or several with an index) or a GGUF file. Names and shapes are Hugging Face's.

import { readdir, stat } from "node:fs/promises";
import { basename, join } from "node:path";
import { TunesmithError } from "../errors.ts";
import { openFolderCheckpoint } from "./checkpoint-folder.ts";
import type { Checkpoint } from "./checkpoint-types.ts";
import { openGgufCheckpoint } from "./gguf/checkpoint-gguf.ts";
import { isPickle, pickleRefused } from "./pickle.ts";

/**
 * Opens a model folder or a `.gguf` file. Weights are read only when asked for; pickle files are
 * refused and never executed. Throws a TunesmithError ("checkpoint") for anything that is not a model.
 */
export async function openCheckpoint(path: string): Promise<Checkpoint> {
  const kind = await stat(path).catch(() => undefined);
  if (!kind)
    throw new TunesmithError("checkpoint", {
      where: path,
      rule: "a model is a folder with config.json and safetensors, or a .gguf file",
      seen: "no such path",
      fix: "check the spelling; a relative path starts at the current folder",
    });
  if (kind.isDirectory()) {
    const files = await readdir(path);
    const ggufFiles = files.filter((file) => file.toLowerCase().endsWith(".gguf"));
    if (files.includes("config.json") || ggufFiles.length === 0)
      return openFolderCheckpoint(path, files);
    if (ggufFiles.length === 1) return openGgufCheckpoint(join(path, ggufFiles[0]!));
    throw new TunesmithError("checkpoint", {
      where: path,
      rule: "a model folder holds one model",
      seen: `${ggufFiles.length} GGUF files`,
      fix: `name one of them, e.g. ${join(path, ggufFiles[0]!)}`,
    });
  }
  if (path.toLowerCase().endsWith(".gguf")) return openGgufCheckpoint(path);
  if (isPickle(path)) throw pickleRefused(path);
  throw new TunesmithError("checkpoint", {
    where: path,
    rule: "a model is a folder with config.json and safetensors, or a .gguf file",
    seen: `the file "${basename(path)}"`,
    fix: path.endsWith(".safetensors")
      ? "name the folder that holds this file and config.json"
      : "name the model's folder or its .gguf file",
  });
}
