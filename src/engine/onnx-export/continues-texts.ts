// Which models the exported graph can be: those that read tokens and continue them. Other kinds are told so
// before anything is written.

import { TunesmithError } from "../../errors.ts";
import type { BoundArchitecture } from "../../models/index.ts";

/** Which models the graph has no form for, in the words of an error. */
const BEYOND: readonly (readonly [
  is: (architecture: BoundArchitecture) => boolean,
  seen: string,
  fix: string,
])[] = [
  [
    ({ classifier }) => classifier !== undefined,
    "a classifier",
    "merge it into a model folder and export that with Optimum, or use `tunesmith classify`",
  ],
  [
    ({ images }) => images !== undefined,
    "a model that looks at images, which takes three graphs",
    "merge it into a model folder and export that with Optimum, or use `tunesmith generate --image`",
  ],
  [
    ({ dimensions }) => dimensions.blanks !== undefined,
    "a model that fills blanks (glm-130b), whose contexts see what follows",
    "use `tunesmith generate`",
  ],
];

/** @throws TunesmithError (config) for a model that is none of those */
export function checkContinuesTexts(architecture: BoundArchitecture): void {
  const found = BEYOND.find(([is]) => is(architecture));
  if (!found) return;
  const [, seen, fix] = found;
  throw new TunesmithError("config", {
    where: "exporting: format onnx",
    rule: "the graph reads tokens and continues them, each seeing those before it",
    seen,
    fix,
  });
}
