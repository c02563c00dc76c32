// A console that keeps what is written to it, without colours.

import picocolors from "picocolors";
import type { Console } from "../console.ts";

export interface TestConsole extends Console {
  outText(): string;
  errText(): string;
}

export function testConsole({ isLive = false } = {}): TestConsole {
  let out = "";
  let err = "";
  const colors = picocolors.createColors(false);
  return {
    out: (text) => {
      out += text;
    },
    err: (text) => {
      err += text;
    },
    outText: () => out,
    errText: () => err,
    closed: new AbortController().signal,
    outColors: colors,
    errColors: colors,
    isLive,
    width: 100,
  };
}
