// Learning-rate schedules with warm-up: the formulas of Transformers' get_*_schedule_with_warmup.
// A schedule is a pure function of the number of finished steps, so resuming needs no state of it.

export type ScheduleName = "constant" | "linear" | "cosine";

export interface ScheduleSettings {
  readonly name: ScheduleName;
  /** Steps of the whole run. Only "constant" without a warm-up ratio can do without. */
  readonly totalSteps?: number;
  /** Steps of linear warm-up from 0; goes before `warmupRatio`. */
  readonly warmupSteps?: number;
  /** The same as a share of `totalSteps`, rounded up. */
  readonly warmupRatio?: number;
  /** The factor that "linear" and "cosine" end at. Default 0. */
  readonly minimumRatio?: number;
}

/** The share of the whole decay that is left, by the share of the way that is done (both 0 to 1). */
const DECAY = {
  constant: () => 1,
  linear: (progress) => 1 - progress,
  cosine: (progress) => 0.5 * (1 + Math.cos(Math.PI * progress)),
} satisfies Record<ScheduleName, (progress: number) => number>;

export const SCHEDULE_NAMES = Object.keys(DECAY) as ScheduleName[];

/** Steps of warm-up of a schedule. */
export function countWarmupSteps(settings: ScheduleSettings): number {
  const { warmupSteps, warmupRatio = 0, totalSteps = 0 } = settings;
  return warmupSteps ?? Math.ceil(totalSteps * warmupRatio);
}

/**
 * The factor on the learning rate as a function of the steps finished before: `factor(0)` is that of
 * the first step. As in Transformers, warm-up begins at exactly 0, so with warm-up the first step
 * moves the optimizer's state but no weight.
 */
export function createSchedule(settings: ScheduleSettings): (finishedSteps: number) => number {
  const warmup = countWarmupSteps(settings);
  const { name, totalSteps = Number.POSITIVE_INFINITY, minimumRatio = 0 } = settings;
  const decay = DECAY[name];
  return (finishedSteps) => {
    if (finishedSteps < warmup) return finishedSteps / warmup;
    const progress = Math.min(1, (finishedSteps - warmup) / Math.max(1, totalSteps - warmup));
    return minimumRatio + (1 - minimumRatio) * decay(progress);
  };
}
