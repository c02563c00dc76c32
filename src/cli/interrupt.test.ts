// Whatever asks a run to stop aborts its signal and leaves the process alive to save.

import { expect, it, vi } from "vitest";
import { listenForInterrupt } from "./interrupt.ts";

it.each(["SIGINT", "SIGTERM", "SIGHUP"] as const)("asks the work to stop at %s", (name) => {
  const onFirst = vi.fn();
  const interrupt = listenForInterrupt(onFirst);
  try {
    process.emit(name);
    process.emit(name);
    expect(interrupt.signal.aborted).toBe(true);
    expect(onFirst).toHaveBeenCalledOnce();
  } finally {
    interrupt.dispose();
  }
});

it("asks the work to stop when the console is closed, before or after", () => {
  const closed = new AbortController();
  const before = listenForInterrupt(() => {}, closed.signal);
  expect(before.signal.aborted).toBe(false);
  closed.abort();
  const after = listenForInterrupt(() => {}, closed.signal);
  expect([before.signal.aborted, after.signal.aborted]).toEqual([true, true]);
  before.dispose();
  after.dispose();
});
