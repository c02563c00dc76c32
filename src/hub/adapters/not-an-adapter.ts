// What is told of a path that was named as an adapter and is none: mostly the right thing is near it.

import { existsSync, statSync } from "node:fs";
import { basename, dirname, join } from "node:path";
import { TunesmithError } from "../../errors.ts";

/** What describes an adapter, in its folder. */
export const ADAPTER_CONFIG = "adapter_config.json";

/** The fault (checkpoint) of a path without an adapter's configuration, by what is there instead. */
export function notAnAdapter(path: string): TunesmithError {
  return new TunesmithError("checkpoint", {
    where: path,
    rule: `an adapter is a folder with ${ADAPTER_CONFIG} and its weights`,
    ...found(path),
  });
}

function found(path: string): { seen: string; fix: string } {
  const kind = statSync(path, { throwIfNoEntry: false });
  if (!kind)
    return {
      seen: "no such folder",
      fix: "check the spelling; a relative path starts at the current folder",
    };
  if (!kind.isDirectory())
    return { seen: `the file "${basename(path)}"`, fix: `name its folder, ${dirname(path)}` };
  if (existsSync(join(path, "config.json")))
    return {
      seen: "config.json: this is a whole model",
      fix: "give this folder as the model; what was trained is in its weights",
    };
  const inside = join(path, "adapter");
  if (existsSync(join(inside, ADAPTER_CONFIG)))
    return { seen: "the folder of a run", fix: `name ${inside}` };
  return { seen: `no ${ADAPTER_CONFIG}`, fix: "name the folder that the adapter was saved to" };
}
