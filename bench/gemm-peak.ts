// The machine's GEMM peak in float32 as our own runtime reaches it; prints one line of JSON of the same
// shape as bench/peers/gemm-peak.py. One process is one measurement.
//
//     node bench/gemm-peak.ts

import { availableParallelism } from "node:os";
import { createRuntime } from "../src/runtime/kernel.ts";
import { floats } from "../src/runtime/values.ts";
import { input, matmul } from "../src/tensor/index.ts";

/** [M, K, N]: 1024 tokens through the largest matrix of a SmolLM2-135M layer. */
const SHAPE = [1024, 576, 1536] as const;
const SECONDS = 2;

/** The fastest of many products [M, K] x [K, N], the second matrix as it is or transposed. */
async function bestSeconds(transposeB: boolean, threads: number): Promise<number> {
  const [m, k, n] = SHAPE;
  const shapes = [[m, k], transposeB ? [n, k] : [k, n], [m, n]] as const;
  const runtime = createRuntime({ threads });
  const [a, b] = [input("a", shapes[0]), input("b", shapes[1])];
  const kernel = await runtime.compile([matmul(a, b, { transposeB })], [a, b]);
  const values = shapes.map((shape) =>
    floats(Float32Array.from({ length: shape[0]! * shape[1]! }, Math.random), shape),
  );
  const [inputs, outputs] = [values.slice(0, 2), values.slice(2)];
  await kernel.run(inputs, outputs);
  let best = Number.POSITIVE_INFINITY;
  const ends = performance.now() + 1000 * SECONDS;
  do {
    const began = performance.now();
    await kernel.run(inputs, outputs);
    best = Math.min(best, performance.now() - began);
  } while (performance.now() < ends);
  await runtime.dispose();
  return best / 1000;
}

const threads = availableParallelism();
const [m, k, n] = SHAPE;
const seconds = Math.min(await bestSeconds(false, threads), await bestSeconds(true, threads));
const gflops = (2 * m * k * n) / seconds / 1e9;
console.log(
  JSON.stringify({
    peer: "gemm-tunesmith",
    peak_gflops: gflops,
    shapes: [{ shape: SHAPE, gflops }],
    threads,
  }),
);
