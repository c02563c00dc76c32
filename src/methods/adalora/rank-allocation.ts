// How AdaLoRA divides a budget of ranks among its modules (Zhang et al. 2023, section 3): how important
// each singular triplet is, how many may stay at a step, and which. The order of operations is that of
// `peft/tuners/adalora/layer.py`, so that the same triplets stay as with PEFT.

/** A tensor of a triplet: its numbers, gradient and running importance, all of one length. */
export interface Factor {
  readonly values: Float32Array;
  readonly gradient: Float32Array;
  /** Moving average of |value · gradient|, Ī. */
  readonly sensitivity: Float32Array;
  /** Moving average of what that deviates by, Ū. */
  readonly uncertainty: Float32Array;
}

/** The singular triplets of one module. */
export interface Triplets {
  readonly rank: number;
  /** [rank, in] */
  readonly a: Factor;
  /** [out, rank] */
  readonly b: Factor;
  /** The singular values, [rank, 1]. */
  readonly e: Factor;
  /** 1 for the triplets that stay, else 0. */
  readonly kept: Float32Array;
}

/** A budget's way from all ranks to the target, in steps counted from 0. */
export interface BudgetPlan {
  readonly totalSteps: number;
  /** Steps before the first pruning. */
  readonly initialSteps: number;
  /** Steps after the last one. */
  readonly finalSteps: number;
  /** Steps from one allocation to the next. */
  readonly interval: number;
  /** Ranks of all modules together, at the start and at the end. */
  readonly initialBudget: number;
  readonly targetBudget: number;
}

/** The step of the last allocation; with no final steps it is the run's last. */
export const lastAllocation = ({ totalSteps, finalSteps }: BudgetPlan): number =>
  totalSteps - Math.max(1, finalSteps);

/** How many triplets may stay, if ranks are allocated at this step; equation 12 of the paper. */
export function budgetAt(step: number, plan: BudgetPlan): number | undefined {
  const { totalSteps, initialSteps, finalSteps, interval, initialBudget, targetBudget } = plan;
  const last = lastAllocation(plan);
  if (step === last) return targetBudget;
  if (step <= initialSteps || step > last || step % interval !== 0) return undefined;
  const left = 1 - (step - initialSteps) / (totalSteps - finalSteps - initialSteps);
  return Math.trunc((initialBudget - targetBudget) * left ** 3 + targetBudget);
}

/** Follows the importance of a factor's elements by one step. */
export function updateImportance(
  { values, gradient, sensitivity, uncertainty }: Factor,
  gradientScale: number,
  beta1: number,
  beta2: number,
): void {
  for (let i = 0; i < values.length; i++) {
    const importance = Math.abs(values[i]! * gradient[i]! * gradientScale);
    const mean = beta1 * sensitivity[i]! + (1 - beta1) * importance;
    sensitivity[i] = mean;
    uncertainty[i] = beta2 * uncertainty[i]! + (1 - beta2) * Math.abs(importance - mean);
  }
}

/** Importance of each triplet: that of its singular value plus the means of its two vectors. */
export function tripletScores({ rank, a, b, e }: Triplets): Float64Array {
  const scores = new Float64Array(rank);
  const [rows, columns] = [a.values.length / rank, b.values.length / rank];
  const score = ({ sensitivity, uncertainty }: Factor, i: number) =>
    sensitivity[i]! * uncertainty[i]!;
  for (let r = 0; r < rank; r++) {
    let ofA = 0;
    for (let i = 0; i < rows; i++) ofA += score(a, r * rows + i);
    let ofB = 0;
    for (let i = 0; i < columns; i++) ofB += score(b, i * rank + r);
    scores[r] = score(e, r) + ofA / rows + ofB / columns;
  }
  return scores;
}

/**
 * Keeps the most important `budget` triplets of all modules and sets the singular values of the others
 * to zero. Their vectors stay: until the last allocation they may come back.
 */
export function allocate(modules: readonly Triplets[], budget: number): void {
  const scores = modules.map(tripletScores);
  const ascending = Float64Array.from(scores.flatMap((own) => [...own])).sort();
  const dropped = ascending.length - budget;
  const threshold = dropped > 0 ? ascending[dropped - 1]! : Number.NEGATIVE_INFINITY;
  modules.forEach((module, m) => {
    for (let r = 0; r < module.rank; r++) module.kept[r] = scores[m]![r]! > threshold ? 1 : 0;
    zeroDropped(module);
  });
}

/** The optimizer moves singular values that were set to zero; this sets them to zero again. */
export function zeroDropped({ kept, e }: Triplets): void {
  for (let r = 0; r < kept.length; r++) if (kept[r] === 0) e.values[r] = 0;
}
