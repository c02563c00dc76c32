// Runs a script under another Node.js as if it were this process: same terminal, same signals,
// same exit code.

import { spawn } from "node:child_process";
import { delimiter, dirname } from "node:path";

/** Type stripping is how a clone runs its TypeScript; its notice says nothing a user can use. */
export const QUIET = "--disable-warning=ExperimentalWarning";

/**
 * Starts `node args…` and resolves to its exit code. Ctrl-C reaches the child through the terminal
 * that both share, so this process only has to outlive it; other signals are passed on.
 */
export function runNode(node, args, options = {}) {
  const path = [dirname(node), ...(options.path ?? []), process.env.PATH].join(delimiter);
  const child = spawn(node, [QUIET, ...args], {
    stdio: "inherit",
    cwd: options.cwd,
    env: { ...process.env, PATH: path, ...options.env },
  });
  process.on("SIGINT", () => {
    if (!process.stdin.isTTY) child.kill("SIGINT");
  });
  process.on("SIGTERM", () => child.kill("SIGTERM"));
  return new Promise((resolve, reject) => {
    child.on("error", reject);
    child.on("exit", (code, signal) => resolve(code ?? (signal === "SIGINT" ? 130 : 143)));
  });
}
