// Lengths that are not known when a graph is written. Shapes are plain numbers while a graph is traced, so
// each such length is traced as a prime that nothing else is a multiple of, and found again by it.

import type { OnnxNode } from "./proto.ts";

/** A length that a run decides. */
export interface DynamicSize {
  /** What it is traced as: a prime, or a product of such. */
  readonly value: number;
  /** Its name in the file. */
  readonly name: string;
  /** The axes of graph inputs whose lengths, multiplied, are it. */
  readonly of: readonly (readonly [input: string, axis: number])[];
}

export interface ShapeWriter {
  /** Whether a number of a shape depends on such a length. */
  isDynamic(value: number): boolean;
  /** The name of a list of whole numbers that is computed while the graph runs. */
  computed(shape: readonly number[]): string;
}

/**
 * @param integers names a constant list
 * @param emit takes the nodes that compute what is asked for, before those that read it
 */
export function createShapeWriter(
  sizes: readonly DynamicSize[],
  integers: (values: readonly number[]) => string,
  emit: (node: OnnxNode) => void,
): ShapeWriter {
  // Products first: a multiple of one is a multiple of its factors too.
  const ordered = sizes.toSorted((a, b) => b.value - a.value);
  const known = new Map<string, string>();
  const once = (name: string, make: () => Omit<OnnxNode, "outputs">) => {
    if (!known.has(name)) {
      emit({ ...make(), outputs: [name] });
      known.set(name, name);
    }
    return name;
  };
  const times = (a: string, b: string, name: string) =>
    once(name, () => ({ type: "Mul", inputs: [a, b] }));
  const lengthOf = ({ name, of }: DynamicSize): string => {
    const lengths = of.map(([input, axis]) =>
      once(`length_${input}_${axis}`, () => ({
        type: "Shape",
        inputs: [input],
        attributes: { start: axis, end: axis + 1 },
      })),
    );
    return lengths.reduce((product, length) => times(product, length, `length_${name}`));
  };
  const find = (value: number) => ordered.find((size) => value > 0 && value % size.value === 0);
  const element = (value: number): string => {
    const size = find(value);
    if (!size) return integers([value]);
    const factor = value / size.value;
    const length = lengthOf(size);
    return factor === 1
      ? length
      : times(length, integers([factor]), `length_${size.name}_times_${factor}`);
  };
  const nameOf = (value: number): string => {
    const size = find(value);
    return size ? `${size.name}_${value / size.value}` : String(value);
  };
  return {
    isDynamic: (value) => find(value) !== undefined,
    computed: (shape) =>
      once(`shape_${shape.map(nameOf).join("_")}`, () => ({
        type: "Concat",
        inputs: shape.map(element),
        attributes: { axis: 0 },
      })),
  };
}
