// The fault of whoever goes on with what was disposed of.

import { TunesmithError } from "../errors.ts";

/** A call on a model whose kernels and files are gone. */
export const disposed = () =>
  new TunesmithError("run", {
    where: "model",
    rule: "a model is not used after dispose()",
    seen: "a call on a disposed model",
    fix: "open it again",
  });
