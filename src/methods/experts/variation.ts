// How unevenly a router's weights are spread, with its gradient: LoRAMoE's loss.

/**
 * The squared coefficient of variation, variance / mean² (the unbiased variance, as LoRAMoE takes it of
 * the routers' sums over each row), and its gradient.
 */
export function variation(values: Float32Array): { loss: number; gradient: Float32Array } {
  const count = values.length;
  if (count < 2) return { loss: 0, gradient: new Float32Array(count) };
  const mean = values.reduce((sum, value) => sum + value, 0) / count;
  const variance = values.reduce((sum, value) => sum + (value - mean) ** 2, 0) / (count - 1);
  const square = mean ** 2 + 1e-10;
  const gradient = values.map(
    (value) =>
      (2 * (value - mean)) / ((count - 1) * square) - (2 * variance * mean) / (count * square ** 2),
  );
  return { loss: variance / square, gradient };
}
