import { describe, expect, it } from "vitest";
import { ALLOCATOR_SETTINGS, engineEnvironment } from "../bin/engine-environment.mjs";

describe.runIf(process.platform === "linux")("the engine's environment (Linux)", () => {
  it("adds what is missing and nothing else", () => {
    expect(engineEnvironment({ HOME: "/" })).toEqual(ALLOCATOR_SETTINGS);
    expect(engineEnvironment({ ...ALLOCATOR_SETTINGS })).toEqual({});
  });

  it("leaves the user's own settings alone", () => {
    const own = engineEnvironment({ MALLOC_TRIM_THRESHOLD_: "1" });
    expect(Object.keys(own)).toEqual(["MALLOC_MMAP_THRESHOLD_"]);
    expect(engineEnvironment({ GLIBC_TUNABLES: "glibc.malloc.trim_threshold=1" })).toEqual({});
  });
});
