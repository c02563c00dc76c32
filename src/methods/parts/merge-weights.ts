// Merging into weights: what methods add is summed in float64, so that a merged weight is rounded once.

/** Sizes of a weight and of the product that is added to it. */
export interface ProductSizes {
  readonly outputSize: number;
  readonly inputSize: number;
  readonly rank: number;
}

/** Where numbers lie, if not row after row. */
export interface ProductLayout {
  /** From one row of R to the next, where it is wider than the weight. */
  readonly width?: number;
  /** The weight's element (o, i) is at o · out + i · in. */
  readonly strides?: { readonly out: number; readonly in: number };
}

/** weight += C R for a weight [out, in], C given by its elements and R [rank, in]. */
export function addLowRank(
  weight: Float32Array,
  { outputSize, inputSize, rank }: ProductSizes,
  column: (out: number, r: number) => number,
  rows: Float32Array,
  { width = inputSize, strides = { out: inputSize, in: 1 } }: ProductLayout = {},
): void {
  const sum = new Float64Array(inputSize);
  for (let out = 0; out < outputSize; out++) {
    sum.fill(0);
    for (let r = 0; r < rank; r++) {
      const factor = column(out, r);
      if (factor === 0) continue;
      const start = r * width;
      for (let i = 0; i < inputSize; i++) sum[i]! += factor * rows[start + i]!;
    }
    for (let i = 0; i < inputSize; i++) weight[out * strides.out + i * strides.in]! += sum[i]!;
  }
}

/** weight += Δ for a weight [out, in], Δ given by its elements. */
export function addElements(
  weight: Float32Array,
  inputSize: number,
  element: (out: number, column: number) => number,
): void {
  for (let i = 0; i < weight.length; i++)
    weight[i]! += element(Math.floor(i / inputSize), i % inputSize);
}

/** Each row of a weight [out, in] times its own factor of `scales`, [out]. */
export function scaleRows(weight: Float32Array, inputSize: number, scales: Float32Array): void {
  for (let i = 0; i < weight.length; i++) weight[i]! *= scales[Math.floor(i / inputSize)]!;
}
