import { afterEach, describe, expect, it } from "vitest";
import { expectFault } from "../hub/testing/files.ts";
import {
  add,
  broadcast,
  input,
  linear,
  multiply,
  reshape,
  type Shape,
  type Tensor,
  tanh,
} from "../tensor/index.ts";
import { createRuntime, type Runtime, type RuntimeOptions } from "./kernel.ts";
import { createBufferPool, floatData, floats } from "./values.ts";

const opened: Runtime[] = [];
const open = (options: RuntimeOptions = {}): Runtime => {
  const runtime = createRuntime({ threads: 1, ...options });
  opened.push(runtime);
  return runtime;
};
afterEach(async () => {
  for (const runtime of opened.splice(0)) await runtime.dispose();
});

/** x + w, of fresh tensors with names of their own. */
function sumGraph(shape: Shape, name = "x"): { outputs: Tensor[]; given: Tensor[] } {
  const given = [input(name, shape), input(`${name} weight`, shape)];
  return { outputs: [add(given[0]!, given[1]!)], given };
}
const pair = (...values: [number, number]) => floats(Float32Array.from(values), [2]);

describe("kernels", () => {
  it("are shared by equal graphs, whatever their inputs are called", async () => {
    const runtime = open();
    const [a, b] = [sumGraph([2]), sumGraph([2], "other")];
    await runtime.compile(a.outputs, a.given);
    const second = await runtime.compile(b.outputs, b.given);
    expect(runtime.compiled).toBe(1);
    expect(floatData((await second.run([pair(1, 2), pair(10, 20)]))[0]!)).toEqual(
      Float32Array.of(11, 22),
    );
  });

  it("are not shared by graphs of other shapes or another order of inputs", async () => {
    const runtime = open();
    const [a, wider] = [sumGraph([2]), sumGraph([3])];
    await runtime.compile(a.outputs, a.given);
    await runtime.compile(wider.outputs, wider.given);
    await runtime.compile(a.outputs, [...a.given].reverse());
    expect(runtime.compiled).toBe(3);
  });

  it("are compiled once when several ask at the same time", async () => {
    const runtime = open();
    const graphs = [1, 2, 3].map((i) => sumGraph([2], `x${i}`));
    await Promise.all(graphs.map(({ outputs, given }) => runtime.compile(outputs, given)));
    expect(runtime.compiled).toBe(1);
  });

  it("that were let go are made anew when they run again", async () => {
    const runtime = open({ kernelLimit: 1 });
    const x = input("x", [2]);
    const first = await runtime.compile([tanh(x)], [x]);
    await runtime.compile([multiply(x, x)], [x]);
    expect(runtime.compiled).toBe(2);
    const [result] = await first.run([pair(0, 1)]);
    expect(floatData(result!)[1]).toBeCloseTo(Math.tanh(1), 6);
    expect(runtime.compiled).toBe(3);
  });

  it("that cannot be compiled say so, and do not stand in the way", async () => {
    const runtime = open();
    const x = input("x", [2], "int64"); // ONNX has no hyperbolic tangent of whole numbers
    await expect(runtime.compile([tanh(x)], [x])).rejects.toThrow("Tanh");
    const { outputs, given } = sumGraph([2]);
    await runtime.compile(outputs, given);
    await runtime.dispose();
  });

  it("write into the memory they are given", async () => {
    const runtime = open();
    const { outputs, given } = sumGraph([2]);
    const kernel = await runtime.compile([outputs[0]!, tanh(outputs[0]!)], given);
    const into = [pair(0, 0), pair(0, 0)];
    await kernel.run([pair(1, 2), pair(3, 4)], into);
    expect(floatData(into[0]!)).toEqual(Float32Array.of(4, 6));
    expect(floatData(into[1]!)[0]).toBeCloseTo(Math.tanh(4), 6);
  });

  it("that hold the same weights are one for all sizes", async () => {
    const runtime = open();
    const weight = floats(Float32Array.of(1, 2, 3, 4), [2, 2]);
    const run = async (batch: number, length: number, held = weight) => {
      const [x, bias, w] = [input("x", [batch * length, 2]), input("b", [2]), input("w", [2, 2])];
      const whole = reshape(add(linear(x, w), bias), [batch, length, 2]);
      const y = multiply(whole, broadcast(bias, [batch, length, 2]));
      const kernel = await runtime.compile([y], [x, bias], new Map([[w, held]]));
      const values = Float32Array.from({ length: 2 * batch * length }, (_, i) => i);
      const [result] = await kernel.run([floats(values, [batch * length, 2]), pair(10, 20)]);
      return result!;
    };
    const [one, many] = [await run(1, 1), await run(2, 3)];
    expect(runtime.compiled).toBe(1);
    expect([...floatData(one)]).toEqual([120, 480]);
    expect(many.dims).toEqual([2, 3, 2]);
    expect([...floatData(many).subarray(2, 4)]).toEqual([180, 760]);
    await run(2, 3, floats(Float32Array.of(1, 2, 3, 4), [2, 2]));
    expect(runtime.compiled).toBe(2);
  });

  it("are released once, when those that run are done, and refuse to run again", async () => {
    const runtime = open();
    const { outputs, given } = sumGraph([2]);
    const kernel = await runtime.compile(outputs, given);
    const running = [1, 2, 3].map((x) => kernel.run([pair(x, x), pair(10, 20)]));
    await Promise.all([runtime.dispose(), runtime.dispose()]);
    await runtime.dispose();
    for (const [i, result] of running.entries())
      expect(floatData((await result)[0]!)).toEqual(Float32Array.of(11 + i, 21 + i));
    await expectFault(kernel.run([pair(1, 1), pair(1, 1)]), /not used after dispose/);
    await expectFault(runtime.compile(outputs, given), /not used after dispose/);
    expect(runtime.compiled).toBe(1);
  });

  it("see changes of the arrays that they are fed", async () => {
    const runtime = open();
    const { outputs, given } = sumGraph([2]);
    const kernel = await runtime.compile(outputs, given);
    const weight = pair(1, 1);
    await kernel.run([pair(1, 2), weight]);
    floatData(weight).fill(5);
    expect(floatData((await kernel.run([pair(1, 2), weight]))[0]!)).toEqual(Float32Array.of(6, 7));
  });
});

describe("buffer pool", () => {
  it("holds for batches of many widths about what the widest needs", () => {
    const pool = createBufferPool();
    for (const width of [100, 132, 64, 116, 148, 80]) {
      const taken = [1, 1, 2, 3].map((part) => pool.take([width, part]));
      for (const value of taken) pool.give(value);
    }
    expect(pool.bytes).toBeLessThanOrEqual(1.5 * 4 * 148 * 7);
  });

  it("hands the same memory out again, for any shape of that size", () => {
    const pool = createBufferPool();
    const first = pool.take([2, 3]);
    pool.give(first);
    const again = pool.take([6]);
    expect(floatData(again).buffer).toBe(floatData(first).buffer);
    expect(again.dims).toEqual([6]);
    expect(pool.bytes).toBe(24);
  });

  it("never hands memory out twice at once", () => {
    const pool = createBufferPool();
    expect(pool.take([4]).data).not.toBe(pool.take([4]).data);
    expect(pool.bytes).toBe(32);
  });

  it("forgets what is free when it is cleared, and only that", () => {
    const pool = createBufferPool();
    const kept = pool.take([4]);
    const free = pool.take([4]);
    pool.give(free);
    pool.clear();
    expect(pool.bytes).toBe(16);
    expect(pool.take([4]).data).not.toBe(free.data);
    pool.give(kept);
    expect(floatData(pool.take([4])).buffer).toBe(floatData(kept).buffer);
  });
});
