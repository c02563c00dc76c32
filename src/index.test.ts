import { execFile } from "node:child_process";
import { join } from "node:path";
import { promisify } from "node:util";
import { expect, it } from "vitest";

const run = promisify(execFile);

/** Runs a module's text in a Node.js of its own; the object files that it has loaded at the end. */
async function objectFiles(code: string) {
  const ending = "process.report.getReport().sharedObjects.filter((f) => f.includes('onnx'))";
  const script = `${code}\nprocess.stdout.write(JSON.stringify(${ending}));`;
  const { stdout, stderr } = await run(
    process.execPath,
    ["--disable-warning=ExperimentalWarning", "--input-type=module", "--eval", script],
    { cwd: import.meta.dirname },
  );
  return { stdout, stderr };
}

const file = (name: string) => JSON.stringify(join(import.meta.dirname, name));

it("importing the package prints nothing and loads no engine", async () => {
  const { stdout, stderr } = await objectFiles(`await import(${file("index.ts")});`);
  expect(stdout).toBe("[]");
  expect(stderr).toBe("");
});

it("which would show if it did", async () => {
  const { stdout } = await objectFiles(`await import(${file("runtime/kernel.ts")});`);
  expect(stdout).toContain("onnxruntime");
});

it("exports what the commands do as functions, and the error family", async () => {
  const names = Object.keys(await import("./index.ts"));
  expect(names.sort()).toEqual([
    "TunesmithError",
    "convertAdapter",
    "describeAdapter",
    "evaluate",
    "exportModel",
    "generateFile",
    "loadModel",
    "merge",
    "mergeAdapters",
    "openConversation",
    "plan",
    "train",
  ]);
});
