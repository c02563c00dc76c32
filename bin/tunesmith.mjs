#!/usr/bin/env node
// The `tunesmith` command. The published package runs its compiled program; a clone runs its
// TypeScript, under its own Node.js where the machine's is too old for that.

import { existsSync } from "node:fs";
import module from "node:module";
import { homedir } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";
import { findNode, tooOldMessage } from "./find-node.mjs";
import { QUIET, runNode } from "./run-node.mjs";

const root = join(dirname(fileURLToPath(import.meta.url)), "..");
const source = join(root, "src", "cli", "main.ts");
const inClone = existsSync(source);
const program = inClone ? source : join(root, "dist", "cli", "main.js");

// Node.js 22 announces type stripping as experimental at every start unless it is told not to.
const stripsTypes =
  Number.parseInt(process.versions.node, 10) >= 24 || process.execArgv.includes(QUIET);

const node = findNode(root);
if (node === undefined) {
  const fix = inClone
    ? `run "npm run quickstart" in ${root} once: it brings its own Node.js`
    : "install a newer Node.js from your package manager or nodejs.org";
  process.stderr.write(`${tooOldMessage(fix)}\n`);
  process.exitCode = 1;
} else if (inClone && !existsSync(join(root, "node_modules"))) {
  process.stderr.write(
    `tunesmith: its dependencies have to be installed first\n  saw: no node_modules in ${root}\n  fix: run "npm run quickstart" there\n`,
  );
  process.exitCode = 1;
} else if (node === process.execPath && (!inClone || stripsTypes)) {
  // Types taken out and code compiled are kept for the next start; where no other user can put code.
  module.enableCompileCache(join(cacheFolder(process.env), "code"));
  const { main } = await import(pathToFileURL(program).href);
  process.exitCode = await main(process.argv.slice(2));
} else {
  // This file again, under the Node.js that the engine wants.
  const args = [fileURLToPath(import.meta.url), ...process.argv.slice(2)];
  process.exitCode = await runNode(node, args);
}

/** As `ownCacheFolder` of src/hub/downloads/hub-cache.ts has it, which is not loaded yet. */
function cacheFolder(env) {
  return env.TUNESMITH_CACHE || join(env.XDG_CACHE_HOME || join(homedir(), ".cache"), "tunesmith");
}
