// The tables of docs/models-and-files.md on what GLM-130B takes, from `docs/glm-130b/config.json`.

import { join } from "node:path";
import { formatBytes, formatCount } from "../src/cli/format.ts";
import { type Scale, scaleModel } from "../src/recipe/scale.ts";
import { table } from "./model-table.ts";

const FOLDER = join(import.meta.dirname, "..", "docs", "glm-130b");
const exactly = (count: number) => count.toLocaleString("en-US");
const DEVICES = [8, 16, 32, 64];

/** What `tunesmith models scale docs/glm-130b` shows, for several numbers of devices. */
export async function scaleTables(): Promise<string> {
  const scales = await Promise.all(DEVICES.map((devices) => scaleModel(FOLDER, { devices })));
  const { parameters, weights, activations, setting, methods } = scales[0]!;
  const fits = ({ methods: all }: Scale, name: string) => {
    const { bytes, left } = all.find((one) => one.name === name)!;
    return `${formatBytes(bytes)}${left < 0 ? ", too much" : ""}`;
  };
  return [
    table(
      ["parameters", "number"],
      [
        ["all", exactly(parameters.total)],
        [`a block, of ${parameters.blocks}`, exactly(parameters.block)],
        ["embedding, which is the output too", exactly(parameters.embedding)],
      ],
    ),
    table(
      ["weights kept in", "bytes"],
      weights.map(({ name, bytes }) => [name, formatBytes(bytes)]),
    ),
    table(
      ["rows × tokens", "inputs of blocks, kept", "one block at work"],
      activations.map(({ rows, tokens, kept, atWork }) => [
        `${rows} × ${tokens}`,
        formatBytes(kept),
        formatBytes(atWork),
      ]),
    ),
    table(
      [
        "method",
        "trained",
        "optimizer, all devices",
        ...DEVICES.map((devices) => `each of ${devices} × ${formatBytes(setting.deviceBytes)}`),
      ],
      methods.map(({ name, trainable, optimizerBytes }) => [
        name,
        formatCount(trainable),
        formatBytes(optimizerBytes),
        ...scales.map((scale) => fits(scale, name)),
      ]),
    ),
  ].join("\n\n");
}
