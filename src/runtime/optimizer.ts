// Optimizers over plain Float32Arrays: AdamW and SGD with PyTorch's formulas, their state as named
// arrays that a checkpoint can keep exactly, and the gradient norm. The loops allocate nothing.

import { TunesmithError } from "../errors.ts";

/** What an optimizer updates: any named tensor with its gradient. */
export interface TrainableTensor {
  readonly name: string;
  readonly shape: readonly number[];
  readonly data: Float32Array;
  readonly gradient: Float32Array;
  /** The learning rate of this tensor is that of the step times this. Default 1. */
  readonly learningRateFactor?: number;
  /**
   * Of a tensor that some steps have no gradient of: whether one has been added since `zeroGradients`. Without,
   * the tensor stays as it is, moments and decay too, as in PyTorch where a gradient is None.
   */
  hasGradient?: boolean;
}

export type OptimizerName = "adamw" | "sgd";

export interface OptimizerSettings {
  readonly name: OptimizerName;
  /** Decoupled for AdamW, added to the gradient for SGD, as in PyTorch. Default 0. */
  readonly weightDecay?: number;
  /** AdamW's decay rates of the two moments. Default [0.9, 0.999]. */
  readonly betas?: readonly [number, number];
  /** AdamW: added to the root of the second moment, outside of it. Default 1e-8. */
  readonly epsilon?: number;
  /** SGD's momentum. Default 0. */
  readonly momentum?: number;
  /** Which tensors weight decay touches. Default `isDecayed`. */
  readonly decays?: (tensor: TrainableTensor) => boolean;
}

export interface Optimizer {
  readonly name: OptimizerName;
  /** Updates done so far; AdamW's bias correction depends on it. */
  readonly stepCount: number;
  /** Named arrays of each tensor, one a moment: the live state, not a copy. */
  readonly state: ReadonlyMap<string, Float32Array>;
  /** Updates every tensor in place from its gradient times `gradientScale` (default 1). */
  step(learningRate: number, gradientScale?: number): void;
  /** Where `stepCount` continues after the arrays of `state` were filled from a checkpoint. */
  restoreStepCount(stepCount: number): void;
}

/**
 * An optimizer for `tensors` with zeroed state.
 *
 * @example
 *     const optimizer = createOptimizer(model.parameters, { name: "adamw", weightDecay: 0.01 });
 *     optimizer.step(2e-4, clipFactor(globalGradientNorm(model.parameters), 1));
 */
export function createOptimizer(
  tensors: readonly TrainableTensor[],
  settings: OptimizerSettings,
): Optimizer {
  return OPTIMIZERS[settings.name](tensors, settings);
}

const OPTIMIZERS = { adamw: createAdamW, sgd: createSgd } satisfies Record<
  OptimizerName,
  (tensors: readonly TrainableTensor[], settings: OptimizerSettings) => Optimizer
>;

export const OPTIMIZER_NAMES = Object.keys(OPTIMIZERS) as OptimizerName[];

/** The patterns of Transformers' Trainer (get_decay_parameter_names), and GPT-2's names of norms. */
const UNDECAYED_NAME = /bias|layernorm|rmsnorm|(?:^|[._])norm(?:$|\.)|(?:^|\.)ln_\w+\./i;

/**
 * Whether weight decay touches a tensor by default: everything but biases and the weights of norms,
 * told by their names as the Transformers Trainer does.
 */
export function isDecayed(tensor: Pick<TrainableTensor, "name">): boolean {
  return !UNDECAYED_NAME.test(tensor.name);
}

const isLeftOut = ({ hasGradient }: TrainableTensor): boolean => hasGradient === false;

/** Loshchilov & Hutter, "Decoupled Weight Decay Regularization"; torch.optim.AdamW's order. */
function createAdamW(tensors: readonly TrainableTensor[], settings: OptimizerSettings): Optimizer {
  const { weightDecay = 0, betas = [0.9, 0.999], epsilon = 1e-8, decays = isDecayed } = settings;
  const [beta1, beta2] = betas;
  const firstMoments = zeroedState(tensors);
  const secondMoments = zeroedState(tensors);
  // Bias correction counts a tensor's own updates.
  const missedSteps = tensors.map(
    ({ hasGradient }) => new Float32Array(+(hasGradient !== undefined)),
  );
  const decay = tensors.map((tensor) => (decays(tensor) ? weightDecay : 0));
  let stepCount = 0;
  return {
    name: "adamw",
    get stepCount() {
      return stepCount;
    },
    state: nameState(tensors, {
      first_moment: firstMoments,
      second_moment: secondMoments,
      missed_steps: missedSteps,
    }),
    step(learningRate, gradientScale = 1) {
      stepCount++;
      for (let i = 0; i < tensors.length; i++) {
        const { data, gradient, learningRateFactor = 1 } = tensors[i]!;
        const missed = missedSteps[i]!;
        if (isLeftOut(tensors[i]!)) {
          missed[0]!++;
          continue;
        }
        const updates = stepCount - (missed[0] ?? 0);
        const secondScale = 1 / Math.sqrt(1 - beta2 ** updates);
        const rate = learningRate * learningRateFactor;
        const stepSize = rate / (1 - beta1 ** updates);
        const keep = 1 - rate * decay[i]!;
        const first = firstMoments[i]!;
        const second = secondMoments[i]!;
        updateAdamW(data, gradient, first, second, {
          gradientScale,
          keep,
          beta1,
          beta2,
          stepSize,
          secondScale,
          epsilon,
        });
      }
    },
    restoreStepCount(count) {
      stepCount = count;
    },
  };
}

interface AdamWFactors {
  readonly gradientScale: number;
  /** 1 - learningRate * weightDecay */
  readonly keep: number;
  readonly beta1: number;
  readonly beta2: number;
  /** learningRate / (1 - beta1^t) */
  readonly stepSize: number;
  /** 1 / sqrt(1 - beta2^t) */
  readonly secondScale: number;
  readonly epsilon: number;
}

function updateAdamW(
  data: Float32Array,
  gradient: Float32Array,
  first: Float32Array,
  second: Float32Array,
  factors: AdamWFactors,
): void {
  const { gradientScale, keep, beta1, beta2, stepSize, secondScale, epsilon } = factors;
  const gain1 = 1 - beta1;
  const gain2 = 1 - beta2;
  const length = data.length;
  for (let i = 0; i < length; i++) {
    const g = gradient[i]! * gradientScale;
    const m = first[i]! * beta1 + g * gain1;
    const v = second[i]! * beta2 + g * g * gain2;
    first[i] = m;
    second[i] = v;
    data[i] = data[i]! * keep - (stepSize * m) / (Math.sqrt(v) * secondScale + epsilon);
  }
}

/** torch.optim.SGD: the momentum buffer begins as the first gradient, without dampening. */
function createSgd(tensors: readonly TrainableTensor[], settings: OptimizerSettings): Optimizer {
  const { weightDecay = 0, momentum = 0, decays = isDecayed } = settings;
  const velocities = momentum === 0 ? [] : zeroedState(tensors);
  const decay = tensors.map((tensor) => (decays(tensor) ? weightDecay : 0));
  let stepCount = 0;
  return {
    name: "sgd",
    get stepCount() {
      return stepCount;
    },
    state: nameState(tensors, momentum === 0 ? {} : { momentum: velocities }),
    step(learningRate, gradientScale = 1) {
      stepCount++;
      for (let i = 0; i < tensors.length; i++) {
        if (isLeftOut(tensors[i]!)) continue;
        const { data, gradient, learningRateFactor = 1 } = tensors[i]!;
        const size = learningRate * learningRateFactor;
        const rate = decay[i]!;
        const velocity = velocities[i];
        if (velocity) {
          for (let j = 0; j < data.length; j++) {
            const v = velocity[j]! * momentum + gradient[j]! * gradientScale + data[j]! * rate;
            velocity[j] = v;
            data[j] = data[j]! - size * v;
          }
        } else {
          for (let j = 0; j < data.length; j++)
            data[j] = data[j]! - size * (gradient[j]! * gradientScale + data[j]! * rate);
        }
      }
    },
    restoreStepCount(count) {
      stepCount = count;
    },
  };
}

function zeroedState(tensors: readonly TrainableTensor[]): Float32Array[] {
  return tensors.map((tensor) => new Float32Array(tensor.data.length));
}

function nameState(
  tensors: readonly TrainableTensor[],
  moments: Readonly<Record<string, readonly Float32Array[]>>,
): ReadonlyMap<string, Float32Array> {
  const state = new Map<string, Float32Array>();
  for (const [moment, arrays] of Object.entries(moments))
    for (const [i, array] of arrays.entries())
      if (array.length > 0) state.set(`${tensors[i]!.name}.${moment}`, array);
  if (new Set(tensors.map(({ name }) => name)).size === tensors.length) return state;
  throw new TunesmithError("config", {
    where: "optimizer",
    rule: "every trainable tensor has a name of its own",
    seen: "two tensors of the same name",
    fix: "let the method list each tensor once",
  });
}

/** Euclidean norm of all gradients together, summed in double precision; not finite if one is not. */
export function globalGradientNorm(tensors: readonly TrainableTensor[]): number {
  let sum = 0;
  for (const { gradient } of tensors) sum += sumOfSquares(gradient);
  return Math.sqrt(sum);
}

function sumOfSquares(values: Float32Array): number {
  let sum = 0;
  for (let i = 0; i < values.length; i++) {
    const value = values[i]!;
    sum += value * value;
  }
  return sum;
}

/** The factor by which torch's clip_grad_norm_ shrinks gradients: max / (norm + 1e-6), at most 1. */
export function clipFactor(norm: number, maxNorm: number): number {
  return Math.min(1, maxNorm / (norm + 1e-6));
}

/** Shrinks all gradients together to at most `maxNorm`; returns the norm that they had before. */
export function clipGradients(tensors: readonly TrainableTensor[], maxNorm: number): number {
  const norm = globalGradientNorm(tensors);
  const factor = clipFactor(norm, maxNorm);
  if (factor < 1)
    for (const { gradient } of tensors)
      for (let i = 0; i < gradient.length; i++) gradient[i] = gradient[i]! * factor;
  return norm;
}

/** Sets every gradient to zero, as gradients accumulate from step to step otherwise. */
export function zeroGradients(tensors: readonly TrainableTensor[]): void {
  for (const tensor of tensors) {
    tensor.gradient.fill(0);
    if (tensor.hasGradient) tensor.hasGradient = false;
  }
}
