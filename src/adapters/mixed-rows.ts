// A LoRA of its own for every row of a batch (S-LoRA, Sheng et al. 2023): the rows' matrices lie
// stacked, one product a module serves all rows. FLOPs are those of one adapter; what is read more is
// the adapters themselves. Stacks are made on the host once a choice of rows, not at every step.

import { type BoundMethod, peftPath } from "../methods/index.ts";
import { add, matmul, reshape, type Tensor } from "../tensor/index.ts";
import { type LoraModule, type PlainLora, withUnitScaling } from "./plain-lora.ts";

/**
 * @param rows the adapter of each row; undefined is the base alone
 * @returns a method for batches of so many rows; its parameters are [rows, rank, in] and
 *   [rows, out, rank], where lower ranks are filled up with zeros
 */
export function mixedRows(rows: readonly (PlainLora | undefined)[]): BoundMethod {
  const paths = new Set(rows.flatMap((lora) => (lora ? [...lora.modules.keys()] : [])));
  const stacks = new Map([...paths].map((path) => [path, stackOf(path, rows)] as const));
  return {
    name: "mixed adapters",
    adapted: [...paths],
    parameters: [...stacks.values()].flatMap(({ a, b }) => [a, b]),
    replaces: new Map(),
    // The last feed-forward would see chosen rows only, whose adapters it could not tell.
    readsWholeRows: true,
    linear(path, x, base, scope) {
      const stack = stacks.get(path);
      if (!stack) return base(x);
      const batched = reshape(x, [scope.batch, scope.sequence, x.shape[1]!]);
      const low = times(batched, scope.parameter(stack.a));
      const added = times(low, scope.parameter(stack.b));
      return add(reshape(added, [x.shape[0]!, added.shape[2]!]), base(x));
    },
    unmergeable: "a batch whose rows have adapters of their own",
    saved: { config: {} },
  };
}

/** x · Wᵀ, each row of the batch with its own W. */
const times = (x: Tensor, weight: Tensor): Tensor => matmul(x, weight, { transposeB: true });

function stackOf(path: string, rows: readonly (PlainLora | undefined)[]) {
  const modules = rows.map((lora) => lora?.modules.get(path));
  const present = modules.filter((module) => module !== undefined);
  const { inputSize, outputSize } = present[0]!;
  const rank = Math.max(...present.map((module) => module.rank));
  const filled = (size: number, copy: (module: LoraModule, target: Float32Array) => void) => {
    const data = new Float32Array(rows.length * size);
    modules.forEach((module, row) => {
      if (module) copy(withUnitScaling(module), data.subarray(row * size, (row + 1) * size));
    });
    return data;
  };
  return {
    a: {
      key: `${peftPath(path)}.rows_A`,
      shape: [rows.length, rank, inputSize],
      initial: async () =>
        filled(rank * inputSize, (module, target) => {
          target.set(module.a);
        }),
    },
    b: {
      key: `${peftPath(path)}.rows_B`,
      shape: [rows.length, outputSize, rank],
      initial: async () =>
        filled(outputSize * rank, (module, target) => {
          for (let out = 0; out < outputSize; out++) {
            const own = module.b.subarray(out * module.rank, (out + 1) * module.rank);
            target.set(own, out * rank);
          }
        }),
    },
  };
}
