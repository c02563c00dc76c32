import { expect, it } from "vitest";
import { checkIntegerProducts } from "./integer-products.ts";
import type { Runtime } from "./kernel.ts";
import { floats } from "./values.ts";

/** A processor that answers every product with one number. */
const answering = (value: number): Pick<Runtime, "compile"> => ({
  compile: async () => ({ run: async () => [floats(new Float32Array(32).fill(value), [1, 32])] }),
});

it("lets pass what multiplies exactly, and no processor whose sums are cut off", async () => {
  await checkIntegerProducts(answering(256 * 127 * 127));
  // Pairs of products that are held in 16 bits: 255 · 127 · 2 becomes 32767.
  const cut = 128 * 32767 - 256 * 128 * 127;
  await expect(checkIntegerProducts(answering(cut))).rejects.toThrow("VNNI");
});
