// The versions that a result depends on.

import { readFileSync } from "node:fs";
import { createRequire } from "node:module";

/** tunesmith's own version and those of the runtime under it. */
export function packageVersions(): Readonly<Record<string, string>> {
  const require = createRequire(import.meta.url);
  const own = new URL("../../package.json", import.meta.url);
  const runtime = require.resolve("onnxruntime-node/package.json");
  const versionIn = (file: string | URL) =>
    (JSON.parse(readFileSync(file, "utf8")) as { version: string }).version;
  return {
    tunesmith: versionIn(own),
    "onnxruntime-node": versionIn(runtime),
    node: process.versions.node,
  };
}
