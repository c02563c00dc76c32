// Stop strings: nothing of one is ever shown, and nothing else is lost.

import { expect, it } from "vitest";
import { createStopStrings } from "./stop-strings.ts";

function shown(stops: string[], pieces: string[]): string[] {
  const watcher = createStopStrings(stops);
  const out: string[] = [];
  for (const piece of pieces) {
    const { text, stopped } = watcher.add(piece);
    out.push(text);
    if (stopped) return [...out, "STOP"];
  }
  return [...out, watcher.finish()];
}

it.each<[string, string[], string[], string[]]>([
  ["passes text through", ["END"], ["one ", "two"], ["one ", "two", ""]],
  ["ends inside a piece", ["END"], ["a END b"], ["a ", "STOP"]],
  ["holds back a beginning", ["END"], ["a E", "N", "D"], ["a ", "", "", "STOP"]],
  ["shows a beginning that was none", ["END"], ["a EN", "d"], ["a ", "ENd", ""]],
  ["gives out what is held at the end", ["END"], ["a EN"], ["a ", "EN"]],
  ["finds overlapping beginnings", ["aab"], ["aa", "ab"], ["", "a", "STOP"]],
  ["takes the first of several", ["yy", "x"], ["1x2yy"], ["1", "STOP"]],
  ["ignores an empty one", [""], ["a"], ["a", ""]],
])("%s", (_, stops, pieces, expected) => expect(shown(stops, pieces)).toEqual(expected));
