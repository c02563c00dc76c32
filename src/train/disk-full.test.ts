// A disk that fills up in the middle of a run: a real one of one MiB where the tests may mount it
// (root on Linux), and everywhere a model whose writing fails the way the system's would.

import { execFile } from "node:child_process";
import { rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { promisify } from "node:util";
import { expect, it } from "vitest";
import { TunesmithError } from "../errors.ts";
import { toyOptions, trainToEnd, useTemporaryFolders } from "./testing/helpers.ts";
import { createToyModel } from "./testing/toy-model.ts";

const makeFolder = useTemporaryFolders();
const run = promisify(execFile);
const settings = { epochs: 2, learningRate: 0.05, saveEvery: 3, evaluateEvery: "never" as const };

async function expectDiskFull(options: ReturnType<typeof toyOptions>, checkpoint: string) {
  const error = await trainToEnd(options).catch((thrown: unknown) => thrown);
  expect(error).toBeInstanceOf(TunesmithError);
  const { message } = error as TunesmithError;
  expect(message).toContain("the disk is full (ENOSPC)");
  expect(message).toContain(`the last good checkpoint is ${checkpoint}`);
}

async function mountSmallDisk(folder: string): Promise<boolean> {
  if (process.platform !== "linux" || process.getuid?.() !== 0) return false;
  const mount = run("mount", ["-t", "tmpfs", "-o", "size=1m", "tmpfs", folder]);
  return mount.then(
    () => true,
    () => false,
  );
}

it("a full disk leaves the last good checkpoint, and the run continues once there is room", async (test) => {
  const folder = await makeFolder();
  if (!(await mountSmallDisk(folder))) test.skip("needs the right to mount a small disk");
  try {
    const runFolder = join(folder, "run");
    const ballast = join(folder, "ballast");
    const model = createToyModel();
    let saves = 0;
    const filling = {
      ...model,
      async saveAdapter(directory: string) {
        // From the third checkpoint on, the adapter is larger than what is left of the disk.
        if (++saves === 3) await writeFile(ballast, new Uint8Array(2 ** 20)).catch(() => {});
        await model.saveAdapter(directory);
      },
    };
    const options = toyOptions(runFolder, { settings, model: filling });
    await expectDiskFull(options, join(runFolder, "checkpoints", "step-000006"));
    await rm(ballast);
    const { steps, finished } = await trainToEnd(toyOptions(runFolder, { settings, resume: true }));
    expect(steps[0]!.step).toBe(7);
    const whole = await trainToEnd(toyOptions(await makeFolder(), { settings }));
    expect(finished.step).toBe(14);
    expect(steps.at(-1)!.loss).toBe(whole.steps.at(-1)!.loss);
  } finally {
    await run("umount", [folder]);
  }
});

it("tells of a full disk wherever it shows", async () => {
  const folder = await makeFolder();
  const model = createToyModel();
  let saves = 0;
  const failing = {
    ...model,
    async saveAdapter(directory: string) {
      await model.saveAdapter(directory);
      if (++saves === 3)
        throw Object.assign(new Error("ENOSPC: no space left on device, write"), {
          code: "ENOSPC",
          path: join(directory, "adapter_model.safetensors"),
        });
    },
  };
  const options = toyOptions(folder, { settings, model: failing });
  await expectDiskFull(options, join(folder, "checkpoints", "step-000006"));
});
