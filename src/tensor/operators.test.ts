import { describe, expect, it } from "vitest";
import { TunesmithError } from "../errors.ts";
import { broadcastShape } from "./node.ts";
import {
  add,
  broadcast,
  concat,
  input,
  inverse,
  matmul,
  multiply,
  reshape,
  rmsNorm,
  rotary,
  slice,
  sum,
  transpose,
} from "./operators.ts";
import {
  constantTensor,
  gatherRows,
  greaterOrEqual,
  scatterRows,
  topMask,
  where,
} from "./selection.ts";

const tensor = (...shape: number[]) => input("x", shape);
const indices = (...shape: number[]) => input("i", shape, "int64");

describe("shapes that do not fit are told with the operator and the shapes", () => {
  it.each([
    ["add", () => add(tensor(2, 3), tensor(2)), "[2, 3] and [2]"],
    ["multiply", () => multiply(tensor(4), tensor(3)), "[4] and [3]"],
    ["matmul: inner lengths", () => matmul(tensor(2, 3), tensor(2, 3)), "[2, 3] and [2, 3]"],
    ["matmul: leading axes", () => matmul(tensor(2, 3, 4), tensor(5, 4, 3)), "[5, 4, 3]"],
    ["matmul: a vector", () => matmul(tensor(3), tensor(3, 2)), "[3] and [3, 2]"],
    [
      "matmul: a transposed batch with a shared right operand",
      () => matmul(tensor(2, 4, 3), tensor(4, 5), { transposeA: true }),
      "[2, 4, 3] and [4, 5]",
    ],
    ["rmsNorm", () => rmsNorm(tensor(2, 4), tensor(3), 1e-6), "[2, 4] and [3]"],
    ["reshape", () => reshape(tensor(2, 3), [5]), "[2, 3]"],
    ["transpose", () => transpose(tensor(2, 3), [0]), "[2, 3]"],
    ["slice: beyond the end", () => slice(tensor(2, 3), 1, 1, 4), "[2, 3]"],
    ["slice: empty", () => slice(tensor(2, 3), 1, 1, 1), "[2, 3]"],
    ["concat: other axes differ", () => concat([tensor(2, 3), tensor(3, 3)], 1), "[3, 3]"],
    ["concat: nothing", () => concat([], 0), ""],
    ["broadcast", () => broadcast(tensor(3), [3, 2]), "[3]"],
    ["inverse: not square", () => inverse(tensor(2, 3, 4)), "[2, 3, 4]"],
    ["inverse: no batch", () => inverse(tensor(3, 3)), "[3, 3]"],
    ["constantTensor", () => constantTensor(Float32Array.of(1, 2), [3]), "[3]"],
    ["gatherRows: a cube", () => gatherRows(tensor(2, 3, 4), indices(5)), "[2, 3, 4] and [5]"],
    ["gatherRows: float indices", () => gatherRows(tensor(2, 3), tensor(5)), "[2, 3] and [5]"],
    ["scatterRows", () => scatterRows(tensor(2, 3), indices(3), 9), "[2, 3] and [3]"],
    ["greaterOrEqual", () => greaterOrEqual(tensor(2), tensor(3)), "[2] and [3]"],
    ["greaterOrEqual: types", () => greaterOrEqual(tensor(2), indices(2)), "[2] and [2]"],
    ["where: no condition", () => where(tensor(2), tensor(2), tensor(2)), "[2] and [2] and [2]"],
    ["topMask: more than there are", () => topMask(tensor(2, 3), 4), "[2, 3]"],
    ["topMask: none", () => topMask(tensor(2, 3), 0), "[2, 3]"],
    [
      "rotary",
      () => rotary(tensor(1, 2, 8), tensor(1, 2), tensor(2, 6), tensor(2, 6), 2),
      "[1, 2, 8] and [2, 6]",
    ],
  ])("%s", (_name, build, seen) => {
    expect(build).toThrow(TunesmithError);
    expect(build).toThrow(seen);
  });
});

describe("shapes that follow", () => {
  it.each([
    [add(tensor(2, 1), tensor(3)), [2, 3]],
    [matmul(tensor(2, 7, 3), tensor(5, 3), { transposeB: true }), [2, 7, 5]],
    [matmul(tensor(3, 7), tensor(3, 5), { transposeA: true }), [7, 5]],
    [matmul(tensor(1, 7, 3), tensor(4, 3, 5)), [4, 7, 5]],
    [matmul(tensor(7, 3), tensor(4, 3, 5)), [4, 7, 5]],
    [gatherRows(tensor(9, 4), indices(2, 3)), [2, 3, 4]],
    [scatterRows(tensor(2, 3, 4), indices(2, 3), 9), [9, 4]],
    [where(greaterOrEqual(tensor(2, 1), tensor(3)), tensor(4, 1, 1), tensor()), [4, 2, 3]],
    [sum(tensor(2, 3, 4), [0, 2]), [1, 3, 1]],
    [concat([tensor(2, 3), tensor(2, 4)], 1), [2, 7]],
    [slice(tensor(5, 2), 0, 1, 3), [2, 2]],
    [transpose(tensor(2, 3, 4), [2, 0, 1]), [4, 2, 3]],
  ])("%#", (y, shape) => {
    expect(y.shape).toEqual(shape);
  });

  it("add no node where nothing changes", () => {
    const x = tensor(2, 3);
    expect(reshape(x, [2, 3])).toBe(x);
    expect(slice(x, 1, 0, 3)).toBe(x);
    expect(broadcast(x, [2, 3])).toBe(x);
    expect(concat([x], 0)).toBe(x);
  });

  it("broadcast as NumPy does", () => {
    expect(broadcastShape([3, 1], [2, 1, 4])).toEqual([2, 3, 4]);
    expect(broadcastShape([], [2])).toEqual([2]);
    expect(broadcastShape([3], [2])).toBeUndefined();
  });
});
