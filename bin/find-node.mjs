// Finds a Node.js that runs this project: the current one, or the one that a clone brings as a
// development dependency. Plain JavaScript for old versions: it runs before anything else can.

import { existsSync } from "node:fs";
import { join } from "node:path";

/** The oldest Node.js that reads TypeScript by itself. */
export const MINIMUM_NODE = [22, 18];

/** Whether a version such as "22.18.0" is at least `MINIMUM_NODE`. */
export function isNewEnough(version) {
  const [major, minor] = version.replace(/^v/, "").split(".").map(Number);
  return major > MINIMUM_NODE[0] || (major === MINIMUM_NODE[0] && minor >= MINIMUM_NODE[1]);
}

/** The path of a Node.js that is new enough, or undefined: none in `root`'s dependencies either. */
export function findNode(root) {
  if (isNewEnough(process.versions.node)) return process.execPath;
  const name = process.platform === "win32" ? "node.exe" : "node";
  const bundled = join(root, "node_modules", "node", "bin", name);
  return existsSync(bundled) ? bundled : undefined;
}

/** What to tell a person whose Node.js is too old. */
export function tooOldMessage(fix) {
  return [
    `node: tunesmith needs Node.js ${MINIMUM_NODE.join(".")} or later`,
    `  saw: ${process.version} at ${process.execPath}`,
    `  fix: ${fix}`,
  ].join("\n");
}
