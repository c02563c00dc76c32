// How LoKr splits sizes, against PEFT's `factorization`.

import { expect, it } from "vitest";
import { nearSquareFactors } from "./lokr.ts";

it.each([
  [576, -1, 24, 24],
  [1536, -1, 32, 48],
  [127, -1, 1, 127],
  [128, 4, 4, 32],
  [960, 13, 12, 80],
  [36, 24, 6, 6],
  [11008, 64, 64, 172],
])("%i with factor %i is %i × %i", (size, factor, smaller, larger) => {
  expect(nearSquareFactors(size, factor)).toEqual([smaller, larger]);
});
