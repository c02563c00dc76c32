// Reading what Linux says about a machine, from texts as it writes them.

import { expect, it, vi } from "vitest";
import { availableMemory, featuresOf, inspectMachine } from "./machine.ts";

it("finds vector instructions", () => {
  const text = "processor\t: 0\nflags\t\t: fpu sse2 avx2 fma avx512f avx512_vnni\nbugs\t: none\n";
  expect(featuresOf(text)).toEqual(["AVX2", "FMA", "AVX-512", "AVX-512 VNNI"]);
  expect(featuresOf("Features\t: fp asimd asimddp\n")).toEqual(["NEON", "NEON dot product"]);
  expect(featuresOf("")).toEqual([]);
});

it("counts caches as available memory", () => {
  expect(availableMemory("MemTotal: 100 kB\nMemAvailable:      42 kB\n")).toBe(42 * 1024);
  expect(availableMemory(undefined)).toBeUndefined();
});

it("keeps models where the downloads go", async () => {
  vi.stubEnv("HF_HUB_CACHE", "");
  vi.stubEnv("HUGGINGFACE_HUB_CACHE", "/older-name");
  expect((await inspectMachine()).modelCache).toBe("/older-name");
  vi.unstubAllEnvs();
});

it("sees this machine", async () => {
  const machine = await inspectMachine();
  expect(machine.onnxRuntime.backends).toContain("cpu");
  expect(machine.onnxRuntime.version).toMatch(/^\d+\.\d+/);
  expect(machine.memory.available).toBeLessThanOrEqual(machine.memory.total);
});
