// `tunesmith doctor`: what this machine offers, for oneself and for a bug report.

import type { Command } from "commander";
import type { Machine } from "../../recipe/machine.ts";
import { type Context, describeCommand } from "../command.ts";
import { formatBytes, formatTable } from "../format.ts";

export function doctorCommand({ console }: Context): Command {
  return describeCommand({
    usage: "doctor",
    summary: "show what this machine offers: processor, memory, devices, versions",
    options: [["--json", "as JSON"]],
    examples: [
      ["tunesmith doctor", "look at this machine"],
      ["tunesmith doctor --json", "the same for a program or a bug report"],
    ],
  }).action(async ({ json }: { json?: boolean }) => {
    const { inspectMachine } = await import("../../recipe/machine.ts");
    const machine = await inspectMachine();
    console.out(json ? `${JSON.stringify(machine, null, 2)}\n` : describeMachine(machine));
  });
}

function describeMachine(machine: Machine): string {
  const { features, cores, memory, disk, onnxRuntime } = machine;
  return formatTable([
    ["system", machine.system],
    ["processor", machine.processor],
    [
      "instructions",
      features === undefined
        ? "not told by this system"
        : features.join(", ") || "none that matter",
    ],
    [
      "cores",
      cores.usable === cores.total ? `${cores.total}` : `${cores.usable} of ${cores.total} usable`,
    ],
    ["memory", `${formatBytes(memory.available)} available of ${formatBytes(memory.total)}`],
    ["disk", `${formatBytes(disk.free)} free of ${formatBytes(disk.total)} here`],
    ["Node.js", machine.node],
    ["ONNX Runtime", `${onnxRuntime.version} (${onnxRuntime.backends.join(", ")})`],
    ["model cache", machine.modelCache],
  ]);
}
