// Makes `npm run quickstart` and `npm run check` work as the first command in a clean clone:
// installs the dependencies where they are missing or older than the lock file, then runs
// `bootstrap.mjs SCRIPT ARGS…` under a Node.js that is new enough. Plain JavaScript that Node 20 runs.

import { spawn } from "node:child_process";
import { existsSync, readFileSync } from "node:fs";
import { basename, dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { findNode, tooOldMessage } from "../bin/find-node.mjs";
import { runNode } from "../bin/run-node.mjs";

const root = join(dirname(fileURLToPath(import.meta.url)), "..");

/**
 * Whether node_modules holds what the lock file asks for. npm writes its own list there last, so a
 * broken-off install shows too. Binaries of other platforms are optional and may be absent.
 */
function isInstalled() {
  const list = join(root, "node_modules", ".package-lock.json");
  if (!existsSync(list)) return false;
  const wanted = JSON.parse(readFileSync(join(root, "package-lock.json"), "utf8")).packages;
  const installed = JSON.parse(readFileSync(list, "utf8")).packages;
  return Object.entries(wanted).every(
    ([path, { optional, version }]) =>
      path === "" || optional === true || installed[path]?.version === version,
  );
}

function install() {
  process.stderr.write("Installing dependencies (once, about half a minute) …\n");
  // Not `npm ci`: it refuses a lock file that lacks the optional binaries of other platforms, which
  // npm leaves out where its registry has no copy of them. `--no-save` keeps to the lock file too,
  // and does not touch it.
  const args = ["install", "--no-save", "--no-audit", "--no-fund", "--loglevel=error"];
  // Under `npm run` this is the very npm that the person typed.
  const npm = process.env.npm_execpath;
  const [command, commandArgs] =
    npm !== undefined && basename(npm) === "npm-cli.js"
      ? [process.execPath, [npm, ...args]]
      : ["npm", args];
  const child = spawn(command, commandArgs, {
    cwd: root,
    stdio: ["ignore", "inherit", "inherit"],
    shell: command === "npm" && process.platform === "win32",
    // The package carries the CPU kernels; its install script would only fetch CUDA libraries.
    env: { ...process.env, ONNXRUNTIME_NODE_INSTALL: "skip" },
  });
  return new Promise((resolve, reject) => {
    child.on("error", reject);
    child.on("exit", (code) => resolve(code ?? 1));
  });
}

if (!isInstalled()) {
  const code = await install();
  if (code !== 0) {
    process.stderr.write(
      "npm install: the dependencies could not be installed\n" +
        `  saw: npm ended with code ${code}; its own message is above\n` +
        "  fix: check that this machine reaches an npm registry, then run the same command again\n",
    );
    process.exit(code);
  }
}

const node = findNode(root);
if (node === undefined) {
  const fix = "delete node_modules and run the same command again with npm's scripts allowed";
  process.stderr.write(`${tooOldMessage(fix)}\n`);
  process.exit(1);
}
process.exitCode = await runNode(node, process.argv.slice(2), {
  cwd: root,
  path: [join(root, "node_modules", ".bin")],
});
