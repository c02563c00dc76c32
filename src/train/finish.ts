// The end of a run: the adapter with its model card, the picture of the losses, and the summary that
// marks the folder as finished.

import { join } from "node:path";
import type { Model } from "../engine/model.ts";
import { writeFileAtomically } from "../hub/index.ts";
import { writeFolderAtomically } from "./atomic-folder.ts";
import { checkpointName, type LoopState, loadParameters } from "./checkpoint.ts";
import type { RunFinished, StopReason } from "./events.ts";
import { drawLossPicture, lossCurves } from "./loss-picture.ts";
import { readMetrics } from "./metrics.ts";
import { type CardSubject, writeModelCard } from "./model-card.ts";
import type { RunFolder } from "./run-folder.ts";
import type { TrainingSettings } from "./settings.ts";
import { peakMemoryBytes } from "./throughput.ts";

/**
 * Writes what a run ends with. With `keepBest` the model first goes back to its best checkpoint. An
 * aborted run gets its picture alone: its folder stays open to be continued.
 */
export async function finishRun(
  folder: RunFolder,
  model: Model,
  state: LoopState,
  settings: TrainingSettings,
  stoppedBecause: StopReason,
  card?: CardSubject,
): Promise<RunFinished> {
  const { paths } = folder;
  const metrics = await readMetrics(paths.metrics);
  await writeFileAtomically(paths.picture, drawLossPicture(lossCurves(metrics)));
  const event: RunFinished = {
    type: "run-finished",
    stoppedBecause,
    step: state.step,
    lossBefore: state.lossBefore,
    seconds: state.seconds,
    peakMemoryBytes: peakMemoryBytes(),
  };
  if (stoppedBecause === "aborted")
    return {
      ...event,
      lossAfter: state.evaluationLoss,
      howToGoOn:
        `everything up to step ${state.step} is saved; ` +
        "run the same again with resume (--resume) to continue from there",
    };

  const best = settings.keepBest ? state.best : undefined;
  if (best && best.step !== state.step)
    await loadParameters(join(paths.checkpoints, checkpointName(best.step)), model);
  const finished: RunFinished = {
    ...event,
    lossAfter: best?.loss ?? state.evaluationLoss,
    adapterStep: best?.step ?? state.step,
    adapterFolder: paths.adapter,
    ...(card && { kind: card.kind }),
    ...(card?.labels && { labels: card.labels }),
    ...(card?.quantization && { quantization: card.quantization }),
  };
  const steps = metrics.filter((metric) => metric.type === "step-finished");
  await writeFolderAtomically(paths.adapter, async (temporary) => {
    await model.saveAdapter(temporary);
    if (!card) return;
    const { lossBefore, lossAfter, step, seconds } = finished;
    const text = writeModelCard(card, settings, {
      step,
      epochs: steps.at(-1)?.epoch ?? state.epoch,
      seconds,
      lossBefore,
      lossAfter,
      firstLoss: steps[0]?.loss,
      lastLoss: steps.at(-1)?.loss,
    });
    await writeFileAtomically(join(temporary, "README.md"), text);
  });
  await writeFileAtomically(paths.summary, `${JSON.stringify(finished, null, 2)}\n`);
  return finished;
}
