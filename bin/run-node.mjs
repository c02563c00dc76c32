// Runs a script under another Node.js as if it were this process: same
// terminal, same signals, same exit code.

import { spawn } from "node:child_process";
import { delimiter, dirname } from "node:path";

/** Type stripping is how a clone runs its TypeScript; its notice says nothing a user can use. */
export const QUIET = "--disable-warning=ExperimentalWarning";

/**
 * Becomes `node args…` where this Node.js can do that: then there is one process to signal and none
 * that idles beside it. Elsewhere starts a child and resolves to its exit code.
 */
export async function runNode(node, args, options = {}) {
  const path = [dirname(node), ...(options.path ?? []), process.env.PATH].join(delimiter);
  const env = { ...process.env, PATH: path };
  if (process.execve !== undefined && process.platform !== "win32") {
    if (options.cwd !== undefined) process.chdir(options.cwd);
    process.execve(node, [node, QUIET, ...args], env);
  }
  return runChild(node, args, { cwd: options.cwd, env });
}

/**
 * Ctrl-C reaches the child through the terminal that both share, so this process only has to outlive
 * it; other signals are passed on.
 */
function runChild(node, args, { cwd, env }) {
  const child = spawn(node, [QUIET, ...args], { stdio: "inherit", cwd, env });
  process.on("SIGINT", () => {
    if (!process.stdin.isTTY) child.kill("SIGINT");
  });
  for (const signal of ["SIGTERM", "SIGHUP"]) process.on(signal, () => child.kill(signal));
  return new Promise((resolve, reject) => {
    child.on("error", reject);
    child.on("exit", (code, signal) => resolve(code ?? (signal === "SIGINT" ? 130 : 143)));
  });
}
