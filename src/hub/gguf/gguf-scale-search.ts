// The scale of a few numbers that are to become small whole ones, found by trying several and solving
// for the best given the roundings: what ggml's K-quants gain over taking the largest magnitude.
// Source of the candidates and the weights: `make_qkx2_quants` and `make_qx_quants` of ggml-quants.c.

/** Numbers below this are taken for zero, as in ggml. */
const LEAST_MAGNITUDE = 1e-15;

const clamp = (value: number, low: number, high: number) => Math.min(high, Math.max(low, value));

/** `x ≈ scale · level - minimum`, levels 0 … top. */
export interface AffineScale {
  readonly scale: number;
  readonly minimum: number;
}

/**
 * The scale and minimum of `count` numbers from `at` on with the least weighted square error, among 22
 * roundings. Weights are |x| + √(mean x²): ggml's guess of what matters, where nothing is measured.
 * @param top the largest level: 15 in 4 bits
 */
export function affineScale(
  data: Float32Array,
  at: number,
  count: number,
  top: number,
): AffineScale {
  let lowest = 0;
  let highest = data[at]!;
  let squares = 0;
  for (let i = at; i < at + count; i++) {
    const x = data[i]!;
    if (x < lowest) lowest = x;
    if (x > highest) highest = x;
    squares += x * x;
  }
  if (highest <= lowest) return { scale: 0, minimum: -lowest };
  const base = Math.sqrt(squares / count);
  let sumW = 0;
  let sumX = 0;
  let sumXX = 0;
  for (let i = at; i < at + count; i++) {
    const x = data[i]!;
    const weight = base + Math.abs(x);
    sumW += weight;
    sumX += weight * x;
    sumXX += weight * x * x;
  }
  // With sums over the levels, the error of any scale s and offset m follows without a second pass:
  // Σw(s·l + m - x)² = s²Σwl² + m²Σw + Σwx² + 2smΣwl - 2sΣwlx - 2mΣwx.
  let best = { scale: (highest - lowest) / top, offset: lowest };
  let bestError = Number.POSITIVE_INFINITY;
  for (let step = -1; step <= 20; step++) {
    const levels = step < 0 ? top : top - 1 + 0.1 * step;
    const inverse = levels / (highest - lowest);
    // Levels are counted from the best offset so far, as in ggml.
    const { offset } = best;
    let sumL = 0;
    let sumLL = 0;
    let sumLX = 0;
    for (let i = at; i < at + count; i++) {
      const x = data[i]!;
      const level = clamp(Math.round(inverse * (x - offset)), 0, top);
      const weighted = (base + Math.abs(x)) * level;
      sumL += weighted;
      sumLL += weighted * level;
      sumLX += weighted * x;
    }
    const candidate = step < 0 ? best : solve(sumW, sumX, sumL, sumLL, sumLX);
    if (!candidate) continue;
    const { scale: s, offset: m } = candidate;
    const error = s * s * sumLL + m * m * sumW + sumXX + 2 * (s * m * sumL - s * sumLX - m * sumX);
    if (error < bestError) {
      bestError = error;
      best = candidate;
    }
  }
  return { scale: best.scale, minimum: -best.offset };
}

/** Weighted least squares for scale and offset; an offset above zero is not representable. */
function solve(sumW: number, sumX: number, sumL: number, sumLL: number, sumLX: number) {
  const determinant = sumW * sumLL - sumL * sumL;
  if (!(determinant > 0)) return undefined;
  const offset = (sumLL * sumX - sumL * sumLX) / determinant;
  if (offset > 0) return { scale: sumLX / sumLL, offset: 0 };
  return { scale: (sumW * sumLX - sumX * sumL) / determinant, offset };
}

/** Tenths of a level; of equally good ones the first is taken. */
const SYMMETRIC_STEPS = [0, -9, -8, -7, -6, -5, -4, -3, -2, -1, 1, 2, 3, 4, 5, 6, 7, 8, 9];

/**
 * The scale of `x ≈ scale · level`, levels -half … half - 1, with the least error weighted by x², among
 * 19 roundings; 0 where all numbers are.
 * @param half 32 in 6 bits
 */
export function symmetricScale(
  data: Float32Array,
  at: number,
  count: number,
  half: number,
): number {
  let largest = 0;
  for (let i = at; i < at + count; i++)
    if (Math.abs(data[i]!) > Math.abs(largest)) largest = data[i]!;
  if (Math.abs(largest) < LEAST_MAGNITUDE) return 0;
  let best = 0;
  let bestGain = Number.NEGATIVE_INFINITY;
  for (const step of SYMMETRIC_STEPS) {
    const inverse = -(half + 0.1 * step) / largest;
    let sumLX = 0;
    let sumLL = 0;
    for (let i = at; i < at + count; i++) {
      const x = data[i]!;
      const level = clamp(Math.round(inverse * x), -half, half - 1);
      const weighted = x * x * level;
      sumLX += weighted * x;
      sumLL += weighted * level;
    }
    // With the best scale, sumLX / sumLL, the error falls by sumLX² / sumLL.
    if (!(sumLL > 0) || (sumLX * sumLX) / sumLL <= bestGain) continue;
    bestGain = (sumLX * sumLX) / sumLL;
    best = sumLX / sumLL;
  }
  return best;
}
