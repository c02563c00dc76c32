// Where the numbers of a run are kept while it goes on: metrics.jsonl for programs, event files for
// TensorBoard.

import type { MetricEvent } from "./events.ts";
import { openMetrics, truncateMetrics } from "./metrics.ts";
import type { RunFolder } from "./run-folder.ts";
import { openTensorboard } from "./tensorboard.ts";

export interface Journal {
  record(event: MetricEvent): Promise<void>;
  /** Brings metrics.jsonl safely to the disk. */
  flush(): Promise<void>;
  close(): Promise<void>;
}

/** Opens the journal of a run that continues after a moment: later entries are dropped. */
export async function openJournal(
  { paths }: RunFolder,
  moment: { readonly step: number; readonly evaluatedAt: number },
): Promise<Journal> {
  await truncateMetrics(paths.metrics, moment);
  const firstStep = moment.step === 0 ? 0 : moment.step + 1;
  const tensorboard = await openTensorboard(paths.tensorboard, firstStep);
  const metrics = await openMetrics(paths.metrics).catch(async (error: unknown) => {
    await tensorboard.close();
    throw error;
  });
  return {
    async record(event) {
      await metrics.append(event);
      await tensorboard.append(event.step, scalarsOf(event));
    },
    flush: () => metrics.flush(),
    async close() {
      await metrics.close();
      await tensorboard.close();
    },
  };
}

function scalarsOf(event: MetricEvent): Record<string, number> {
  if (event.type === "evaluation-finished")
    return Object.fromEntries(
      (["loss", "perplexity", "accuracy", "macroF1"] as const).flatMap((name) => {
        const value = event[name];
        return value === undefined ? [] : [[`eval/${name}`, value]];
      }),
    );
  return {
    "train/loss": event.loss,
    "train/learning_rate": event.learningRate,
    "train/gradient_norm": event.gradientNorm,
    "train/tokens_per_second": event.tokensPerSecond,
    "train/epoch": event.epoch,
  };
}
