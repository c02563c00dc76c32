// Rotary position embeddings with the scalings that checkpoints use. Numbers follow Transformers'
// `modeling_rope_utils`, in single precision where it computes in single precision.

import type { RotaryTables } from "./architecture.ts";
import type { RopeConfig } from "./rope-config.ts";

/** θ^(−2i/d) / factor_i for i < d / 2, rounded as float32 arithmetic rounds it. */
function baseFrequencies(theta: number, size: number, factors?: readonly number[]): number[] {
  return Array.from({ length: size / 2 }, (_, i) => {
    const wavelength = Math.fround(theta ** Math.fround((2 * i) / size));
    return Math.fround(1 / Math.fround(Math.fround(factors?.[i] ?? 1) * wavelength));
  });
}

/** The frequency of each pair of dimensions, for sequences up to `length`. */
function frequencies({ theta, size, scaling }: RopeConfig, length: number): number[] {
  const base = baseFrequencies(theta, size);
  switch (scaling.kind) {
    case "default":
      return base;
    case "linear":
      return base.map((frequency) => frequency / scaling.factor);
    // NTK-aware: the base grows with the sequence once it is longer than in training.
    case "dynamic": {
      const longest = Math.max(length, scaling.originalPositions);
      const growth = (scaling.factor * longest) / scaling.originalPositions - (scaling.factor - 1);
      return baseFrequencies(theta * growth ** (size / (size - 2)), size);
    }
    // Long wavelengths are stretched, short ones kept, those between interpolated (Llama 3.1).
    case "llama3": {
      const { factor, lowFrequencyFactor: low, highFrequencyFactor: high } = scaling;
      return base.map((frequency) => {
        const turns = (scaling.originalPositions * frequency) / (2 * Math.PI);
        if (turns > high) return frequency;
        if (turns < low) return frequency / factor;
        const smooth = (turns - low) / (high - low);
        return ((1 - smooth) * frequency) / factor + smooth * frequency;
      });
    }
    // YaRN (Peng et al. 2023), section 3.2: interpolate slow dimensions, keep fast ones.
    case "yarn": {
      const dimensionOf = (turns: number) =>
        (size * Math.log(scaling.originalPositions / (turns * 2 * Math.PI))) /
        (2 * Math.log(theta));
      const round = scaling.truncate
        ? { down: Math.floor, up: Math.ceil }
        : { down: Number, up: Number };
      const low = Math.max(round.down(dimensionOf(scaling.betaFast)), 0);
      const reach = Math.min(round.up(dimensionOf(scaling.betaSlow)), size - 1);
      const high = reach === low ? low + 0.001 : reach;
      return base.map((frequency, i) => {
        const ramp = Math.min(Math.max((i - low) / (high - low), 0), 1);
        return (frequency / scaling.factor) * ramp + frequency * (1 - ramp);
      });
    }
    // LongRoPE (Ding et al. 2024): a divisor for each pair, from a search; others for longer texts.
    case "longrope": {
      const isLong = length > scaling.originalPositions;
      return baseFrequencies(theta, size, isLong ? scaling.longFactors : scaling.shortFactors);
    }
  }
}

/** Tables [length, size / 2] for positions 0 … length − 1. */
export function rotaryTables(config: RopeConfig, length: number): RotaryTables {
  const pairs = frequencies(config, length).map(Math.fround);
  const amplitude = "attentionFactor" in config.scaling ? config.scaling.attentionFactor : 1;
  const cosines = new Float32Array(length * pairs.length);
  const sines = new Float32Array(length * pairs.length);
  for (let position = 0; position < length; position++)
    for (let i = 0; i < pairs.length; i++) {
      const angle = Math.fround(position * pairs[i]!);
      cosines[position * pairs.length + i] = Math.cos(angle) * amplitude;
      sines[position * pairs.length + i] = Math.sin(angle) * amplitude;
    }
  return { cosines, sines };
}
