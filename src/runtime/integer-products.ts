// Whether this processor multiplies 8-bit integers exactly. x86 before VNNI adds pairs of products in
// 16 bits and cuts off what does not fit, without a word; asking for a product tells more surely than
// the processor's own list of what it can do, and everywhere.

import { TunesmithError } from "../errors.ts";
import { input, integerLinear } from "../tensor/index.ts";
import type { Runtime } from "./kernel.ts";
import { floatData, floats, wholeNumbers } from "./values.ts";

const [INNER, OUT] = [256, 32];

/**
 * Multiplies the largest numbers that there can be.
 * @throws TunesmithError (config) where sums are cut off
 */
export async function checkIntegerProducts(runtime: Pick<Runtime, "compile">): Promise<void> {
  const x = input("x", [1, INNER]);
  const weight = {
    codes: input("codes", [OUT, INNER], "int8"),
    transposed: input("transposed", [INNER, OUT], "int8"),
    scales: input("scales", [OUT]),
  };
  const kernel = await runtime.compile(
    [integerLinear(x, weight)],
    [x, weight.transposed, weight.scales],
  );
  const [result] = await kernel.run([
    floats(new Float32Array(INNER).fill(127), [1, INNER]),
    wholeNumbers(new Int8Array(INNER * OUT).fill(127), [INNER, OUT]),
    floats(new Float32Array(OUT).fill(1), [OUT]),
  ]);
  const expected = INNER * 127 * 127;
  const seen = floatData(result!);
  if (seen.every((value) => Math.abs(value - expected) < 1)) return;
  throw new TunesmithError("config", {
    where: "arithmetic: int8",
    rule: "the processor multiplies 8-bit integers without cutting sums off (x86: AVX-512 VNNI or AVX-VNNI)",
    seen: `${seen[0]} where the product is ${expected}`,
    fix: "leave arithmetic out: float32 runs everywhere",
  });
}
