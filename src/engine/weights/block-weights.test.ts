import { afterAll, describe, expect, it } from "vitest";
import { dequantize, type Int4Tensor, openCheckpoint } from "../../hub/index.ts";
import { casePath } from "../../hub/testing/cases.ts";
import { createRuntime, type Value } from "../../runtime/kernel.ts";
import { createRandom } from "../../runtime/random.ts";
import { randomFloats } from "../../runtime/testing/evaluate.ts";
import { floatData, floats } from "../../runtime/values.ts";
import { type BlockWeight, blockLinear, input, type Tensor } from "../../tensor/index.ts";
import {
  type BlockBits,
  type BlockOperands,
  blockBytes,
  blockOperands,
  bytesInBlocks,
  decodeBlockRow,
  decodeBlocks,
  int4Operands,
  toBlocks,
} from "./block-weights.ts";

const runtime = createRuntime({ threads: 1 });
afterAll(() => runtime.dispose());

/** x [count, columns] times a matrix whose parts a kernel holds. */
async function multiply(x: Float32Array, count: number, operands: BlockOperands) {
  const columns = x.length / count;
  const held = new Map<Tensor, Value>();
  const named = Object.entries(operands.parts).map(([part, value]) => {
    const tensor = input(part, value.dims, value.type as "uint8");
    held.set(tensor, value);
    return [part, tensor] as const;
  });
  const weight = Object.fromEntries(named) as { [Part in keyof BlockWeight]: Tensor };
  const rows = input("x", [count, columns]);
  const kernel = await runtime.compile([blockLinear(rows, weight, operands)], [rows], held);
  const [product] = await kernel.run([floats(x, [count, columns])]);
  return floatData(product!);
}

const matrix = (rows: number, columns: number) => randomFloats(createRandom(5), rows * columns);

describe.each<BlockBits>([4, 8])("a matrix in blocks of %i bits", (bits) => {
  const levels = bits === 4 ? 15 : 254;

  it.each([32, 64, 36, 100])("is at most half a step off, in rows of %i", (columns) => {
    const data = matrix(3, columns);
    const blocks = toBlocks(data, [3, columns], bits);
    const decoded = new Float32Array(data.length);
    decodeBlocks(blocks, decoded);
    for (let row = 0; row < 3; row++)
      for (let start = 0; start < columns; start += blocks.blockSize) {
        const from = row * columns + start;
        const to = Math.min(from + blocks.blockSize, (row + 1) * columns);
        const block = data.subarray(from, to);
        const [low, high] = [Math.min(...block), Math.max(...block)];
        const span = bits === 4 ? high - low : 2 * Math.max(high, -low);
        const bound = (span / levels) * 0.5 * 1.0001;
        block.forEach((value, i) => {
          expect(Math.abs(decoded[from + i]! - value)).toBeLessThanOrEqual(bound);
        });
      }
  });

  it("keeps blocks of one value, and of zeros", () => {
    const data = new Float32Array(192).fill(0.3, 64, 128);
    const decoded = new Float32Array(data.length);
    decodeBlocks(toBlocks(data, [3, 64], bits), decoded);
    expect([...decoded]).toEqual([...data]);
  });

  it("takes the bytes that its shape says", () => {
    for (const columns of [64, 36]) {
      const blocks = toBlocks(matrix(3, columns), [3, columns], bits);
      expect(bytesInBlocks([3, columns], bits)).toBe(blockBytes(blocks));
    }
  });

  it("gives a row as it gives all", () => {
    const blocks = toBlocks(matrix(3, 36), [3, 36], bits);
    const all = new Float32Array(3 * 36);
    decodeBlocks(blocks, all);
    const row = new Float32Array(36);
    decodeBlockRow(blocks, 2, row);
    expect([...row]).toEqual([...all.subarray(72)]);
  });

  it.each([
    [1, 64],
    [5, 64],
    [3, 36],
  ])("multiplies %i rows of %i as the decoded one does, rows rounded", async (count, columns) => {
    const data = matrix(7, columns);
    const blocks = toBlocks(data, [7, columns], bits);
    const decoded = new Float32Array(data.length);
    decodeBlocks(blocks, decoded);
    const x = matrix(count, columns).toReversed();
    const product = await multiply(x, count, blockOperands(blocks));
    let [error, size] = [0, 0];
    product.forEach((value, i) => {
      const [row, out] = [Math.floor(i / 7), i % 7];
      let exact = 0;
      for (let k = 0; k < columns; k++)
        exact += x[row * columns + k]! * decoded[out * columns + k]!;
      error += (value - exact) ** 2;
      size += exact ** 2;
    });
    // Rows in 8 bits: half a step of 1/127 of the largest, over the root mean square.
    expect(Math.sqrt(error / size)).toBeLessThan(0.02);
  });
});

it.each(["gptq", "gptq-v2", "gptq-desc-act", "awq"])(
  "the product with %s is of its own codes: rows of whole numbers are not rounded",
  async (name) => {
    const checkpoint = await openCheckpoint(casePath("packed", name));
    const tensor = (await checkpoint.readQuantized!("layer.weight")) as Int4Tensor;
    await checkpoint.close();
    const [outputs, inputs] = tensor.shape as [number, number];
    const decoded = new Float32Array(outputs * inputs);
    dequantize(tensor, decoded);
    const random = createRandom(3);
    // The largest of every block is 127, whichever inputs lie there, so that a step is 1.
    const x = Float32Array.from({ length: 2 * inputs }, () => (random.below(2) === 0 ? 127 : -127));
    for (let i = 0; i < x.length; i += 2) x[i] = random.below(255) - 127;
    const product = await multiply(x, 2, int4Operands(tensor));
    product.forEach((value, i) => {
      const [row, out] = [Math.floor(i / outputs), i % outputs];
      let [exact, size] = [0, 0];
      for (let k = 0; k < inputs; k++) {
        const term = x[row * inputs + k]! * decoded[out * inputs + k]!;
        exact += term;
        size += Math.abs(term);
      }
      expect(Math.abs(value - exact)).toBeLessThan(1e-6 * size);
    });
  },
);
