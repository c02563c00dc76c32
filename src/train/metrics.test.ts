import { appendFile, readFile } from "node:fs/promises";
import { join } from "node:path";
import { expect, it } from "vitest";
import type { MetricEvent } from "./events.ts";
import { openMetrics, readMetrics, truncateMetrics } from "./metrics.ts";
import { useTemporaryFolders } from "./testing/helpers.ts";

const makeFolder = useTemporaryFolders();

function stepEvent(step: number): MetricEvent {
  const rest = { epoch: 0, learningRate: 1e-4, gradientNorm: 1 / 3, tokensPerSecond: 1 };
  return {
    type: "step-finished",
    step,
    loss: Math.PI / step,
    ...rest,
    targetTokens: 1,
    peakMemoryBytes: 1,
  };
}

function evaluationEvent(step: number): MetricEvent {
  return {
    type: "evaluation-finished",
    step,
    loss: 1,
    perplexity: Math.E,
    targetTokens: 1,
    isBest: false,
  };
}

it("keeps every bit of a number, and goes back to the moment of a checkpoint", async () => {
  const path = join(await makeFolder(), "metrics.jsonl");
  const file = await openMetrics(path);
  const events = [1, 2, 3].flatMap((step) => [stepEvent(step), evaluationEvent(step)]);
  for (const event of events) await file.append(event);
  await file.flush();
  await file.close();
  await appendFile(path, '{"type":"step-finished","step":4,"lo');
  expect(await readMetrics(path)).toEqual(events);

  await truncateMetrics(path, { step: 2, evaluatedAt: 1 });
  expect(await readMetrics(path)).toEqual(events.slice(0, 3));
  const again = await openMetrics(path);
  await again.append(stepEvent(9));
  await again.close();
  expect((await readFile(path, "utf8")).trim().split("\n").length).toBe(4);
});

it("reads a missing file as empty, and makes it when it is taken back", async () => {
  const path = join(await makeFolder(), "metrics.jsonl");
  expect(await readMetrics(path)).toEqual([]);
  await truncateMetrics(path, { step: 0, evaluatedAt: -1 });
  expect(await readFile(path, "utf8")).toBe("");
});
