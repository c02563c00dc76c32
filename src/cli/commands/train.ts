// `tunesmith train`: runs a recipe and shows how it goes.

import type { Command } from "commander";
import type { RunFinished, TrainEvent } from "../../train/index.ts";
import { type Context, describeCommand } from "../command.ts";
import type { Console } from "../console.ts";
import { formatBytes, formatDuration, shortPath } from "../format.ts";
import { listenForInterrupt } from "../interrupt.ts";
import { createPreparing } from "../preparing.ts";
import { createProgress } from "../progress.ts";

interface Options {
  readonly resume?: boolean;
  readonly overwrite?: boolean;
  readonly json?: boolean;
}

export function trainCommand(context: Context): Command {
  const { console, overrides } = context;
  return describeCommand({
    usage: "train <recipe>",
    summary: "train as the recipe says",
    details:
      "Leaves a run folder: adapter/ (its README says how to load it), checkpoints/, metrics.jsonl,\n" +
      "tensorboard/, loss.svg. Ctrl-C saves and says how to go on; a second one quits at once.",
    arguments: { recipe: "the recipe's file" },
    options: [
      [
        "--resume",
        "go on where the run folder's last checkpoint stands, or begin where it has none",
      ],
      ["--overwrite", "replace the run that is in the folder"],
      ["--json", "one JSON event a line instead of progress"],
    ],
    examples: [
      ["tunesmith train recipe.yaml", "train"],
      ["tunesmith train recipe.yaml --train.epochs 2", "with another value for one key"],
      ["tunesmith train recipe.yaml --resume", "go on after Ctrl-C or a crash"],
    ],
    takesOverrides: true,
  }).action(async (file: string, { resume, overwrite, json }: Options) => {
    const { loadRecipe } = await import("../../recipe/load.ts");
    const recipe = await loadRecipe(file, { overrides });
    const { train } = await import("../../recipe/train.ts");
    const interrupt = listenForInterrupt(
      () => console.err("\nstopping: the checkpoint is being saved (Ctrl-C again quits at once)\n"),
      console.closed,
    );
    const preparing = createPreparing(console);
    const show = json ? jsonLines(console) : createProgress(console);
    try {
      let last: RunFinished | undefined;
      const events = train(recipe, {
        resume,
        overwrite,
        signal: interrupt.signal,
        onProgress: preparing.show,
        onWarning: preparing.warn,
      });
      for await (const event of events) {
        preparing.finish();
        show.show(event);
        if (event.type === "run-finished") last = event;
      }
      show.finish();
      if (last?.stoppedBecause === "aborted") context.exitCode = 130;
      if (last !== undefined && !json) {
        const { path, id } = recipe.recipe.model;
        console.out(
          describeEnd(last, {
            recipe: file,
            model: path === undefined ? id! : shortPath(path),
          }),
        );
      }
    } catch (error) {
      if (!interrupt.signal.aborted || error !== interrupt.signal.reason) throw error;
      // Stopped before the first step: there is nothing to save.
      context.exitCode = 130;
    } finally {
      preparing.finish();
      show.finish();
      interrupt.dispose();
    }
  });
}

function jsonLines(console: Console) {
  return {
    show: (event: TrainEvent) => console.out(`${JSON.stringify(event)}\n`),
    finish: () => {},
  };
}

interface EndedRun {
  /** The recipe's file, and its model as a person would write it. */
  readonly recipe: string;
  readonly model: string;
}

/** What a person reads when a run has ended: what came of it and what to do with it. */
function describeEnd(event: RunFinished, { recipe, model }: EndedRun): string {
  const { step, seconds, peakMemoryBytes, lossBefore, lossAfter } = event;
  const adapter = shortPath(event.adapterFolder ?? "");
  const cost = `${step} steps in ${formatDuration(seconds)}, at most ${formatBytes(peakMemoryBytes)} of memory`;
  if (event.stoppedBecause === "aborted")
    return `stopped after ${cost}\n${event.howToGoOn ?? `go on with: tunesmith train ${recipe} --resume`}\n`;
  const why = event.stoppedBecause === "early-stopping" ? " (stopped early: no more gain)" : "";
  const gain =
    lossBefore === undefined || lossAfter === undefined
      ? ""
      : `held-out loss ${lossBefore.toFixed(4)} before, ${lossAfter.toFixed(4)} after\n`;
  const isModel = event.kind === "model";
  const flag = event.quantization === undefined ? "" : ` --quantization ${event.quantization}`;
  const next = isModel ? `--model ${adapter}` : `--model ${model} --adapter ${adapter}${flag}`;
  return (
    `trained ${cost}${why}\n${gain}${isModel ? "model" : "adapter"} in ${adapter}\n\n` +
    `Next:\n  tunesmith ${event.labels ? `classify ${next} "a text"` : `chat ${next}`}\n`
  );
}
