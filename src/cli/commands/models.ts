// `tunesmith models`: what is supported, and what a model is.

import type { Command } from "commander";
import type { ModelFacts } from "../../recipe/models.ts";
import type { Scale } from "../../recipe/scale.ts";
import type { SupportedModels } from "../../recipe/supported-models.ts";
import { type Context, describeCommand } from "../command.ts";
import type { Colors } from "../console.ts";
import { formatBytes, formatCount, formatTable } from "../format.ts";
import { attend } from "../preparing.ts";

export function modelsCommand(context: Context): Command {
  const { console } = context;
  const command = describeCommand({
    usage: "models",
    summary: "show which architectures and file formats are supported",
    options: [["--json", "as JSON"]],
    examples: [
      ["tunesmith models", "what can be trained, and in which files it comes"],
      ["tunesmith models show ./my-model", "what one model is, and what it takes"],
    ],
  }).action(async ({ json }: { json?: boolean }) => {
    const { supportedModels } = await import("../../recipe/supported-models.ts");
    const supported = supportedModels();
    console.out(
      json
        ? `${JSON.stringify(supported, null, 2)}\n`
        : describeSupported(supported, console.outColors),
    );
  });
  return command
    .enablePositionalOptions()
    .addCommand(showCommand(context))
    .addCommand(scaleCommand(context));
}

function showCommand(context: Context): Command {
  const { console } = context;
  return describeCommand({
    usage: "show <model>",
    summary: "show a model: config, parameters, memory, chat template",
    details: "Reads headers alone, whatever the model's size.",
    arguments: { model: "a folder, a GGUF file or a hub id" },
    options: [["--json", "as JSON"]],
    examples: [
      ["tunesmith models show ./my-model", "a folder"],
      ["tunesmith models show model.gguf --json", "a file, for a program"],
    ],
  }).action(async (model: string, { json }: { readonly json?: boolean }) => {
    const { describeModel } = await import("../../recipe/models.ts");
    const facts = await attend(context, (attended) => describeModel(model, attended));
    if (facts === undefined) return;
    console.out(
      json ? `${JSON.stringify(facts, null, 2)}\n` : describeFacts(facts, console.outColors),
    );
  });
}

function scaleCommand(context: Context): Command {
  const { console } = context;
  return describeCommand({
    usage: "scale <model>",
    summary: "compute what a model takes that is too large for this machine",
    details:
      "Reads config.json alone. Devices share weights, gradients and optimizer state (ZeRO stage 3);\n" +
      "each reads rows of its own and computes blocks again in the backward pass.",
    arguments: { model: "a folder with config.json; weights are not needed" },
    options: [
      ["--devices <count>", "devices that share all state", "8"],
      ["--device-memory <gigabytes>", "what each of them has", "80"],
      ["--rows <count>", "rows that each reads at a time", "1"],
      ["--tokens <count>", "tokens of a row (default: the context, at most 2048)"],
      ["--json", "as JSON"],
    ],
    examples: [
      ["tunesmith models scale ./glm-130b", "on 8 devices of 80 GB"],
      ["tunesmith models scale ./glm-130b --devices 64 --device-memory 40", "on others"],
    ],
  }).action(async (folder: string, { devices, deviceMemory, rows, tokens, json }: ScaleFlags) => {
    const { scaleModel } = await import("../../recipe/scale.ts");
    const scale = await scaleModel(folder, {
      devices: Number(devices),
      deviceBytes: Number(deviceMemory) * 1e9,
      rows: Number(rows),
      ...(tokens !== undefined && { tokens: Number(tokens) }),
    });
    console.out(
      json ? `${JSON.stringify(scale, null, 2)}\n` : describeScale(scale, console.outColors),
    );
  });
}

interface ScaleFlags {
  readonly devices: string;
  readonly deviceMemory: string;
  readonly rows: string;
  readonly tokens?: string;
  readonly json?: boolean;
}

function describeScale(scale: Scale, colors: Colors): string {
  const { parameters, weights, activations, setting, methods } = scale;
  const { devices, deviceBytes, rows, tokens } = setting;
  return sections(
    [
      [
        "Parameters",
        formatTable([
          ["total", formatCount(parameters.total)],
          [`a block, of ${parameters.blocks}`, formatCount(parameters.block)],
          ["embedding", formatCount(parameters.embedding)],
        ]),
      ],
      [
        "Weights, by type",
        formatTable(weights.map(({ name, bytes }) => [name, formatBytes(bytes)])),
      ],
      [
        "Activations in 16 bits, blocks computed again",
        formatTable(
          activations.map((one) => [
            `${one.rows} × ${one.tokens}`,
            `${formatBytes(one.kept)} kept`,
            `${formatBytes(one.atWork)} for one block at work`,
          ]),
        ),
      ],
      ...methods.map(
        ({ name, trainable, optimizerBytes, terms, bytes, left }): [string, string] => [
          `${name}, on each of ${devices} devices of ${formatBytes(deviceBytes)}, ${rows} × ${tokens} tokens`,
          formatTable([
            ["trained, on all", formatCount(trainable)],
            ["optimizer, on all", formatBytes(optimizerBytes)],
            ...terms.map((term) => [term.name, formatBytes(term.bytes)]),
            ["together", formatBytes(bytes)],
            left < 0 ? ["too much by", formatBytes(-left)] : ["left", formatBytes(left)],
          ]),
        ],
      ),
    ],
    colors,
  );
}

function describeSupported({ architectures, formats }: SupportedModels, colors: Colors): string {
  const rows = architectures.map(({ modelType, covers, gguf }) => [
    modelType,
    covers,
    gguf && `GGUF ${gguf}`,
  ]);
  return sections(
    [
      ["Architectures (model_type of config.json)", formatTable(rows)],
      ["Formats", formatTable(formats.map(({ what, types }) => [what, types.join(", ")]))],
    ],
    colors,
  );
}

function describeFacts(facts: ModelFacts, colors: Colors): string {
  const { parameters, step } = facts;
  const counts = (title: string, list: readonly { name: string; count: number }[]) =>
    list.map(({ name, count }, i) => [i === 0 ? title : "", name, formatCount(count)]);
  const isSparse = parameters.active < parameters.total;
  return sections(
    [
      [
        `${facts.modelType}: ${facts.covers}`,
        formatTable([
          [facts.format, facts.source],
          ...facts.sizes.map(({ name, text }) => [name, text]),
        ]),
      ],
      [
        "config.json",
        formatTable(
          Object.entries(facts.config).map(([key, value]) => [
            key,
            shortened(JSON.stringify(value)),
          ]),
        ),
      ],
      [
        "Parameters",
        formatTable([
          ["total", "", formatCount(parameters.total)],
          ...(isSparse ? [["a token's", "", formatCount(parameters.active)]] : []),
          ...(parameters.images ? [["images", "", formatCount(parameters.images)]] : []),
          ["embedding", "", formatCount(parameters.embedding)],
          ...(parameters.output > 0 ? [["output", "", formatCount(parameters.output)]] : []),
          ...parameters.blocks.flatMap(({ layer, modules }) => counts(`layer ${layer}`, modules)),
        ]),
      ],
      [
        "Weights in memory, by dtype",
        formatTable(facts.weightBytes.map(({ name, count }) => [name, formatBytes(count)])),
      ],
      [
        `Memory, at most about (an answer within ${step.tokens} tokens; a step of ${step.rows} × ${step.tokens})`,
        formatTable(facts.memoryBytes.map(({ name, count }) => [name, formatBytes(count)])),
      ],
      ["Special tokens", formatTable(Object.entries(facts.specialTokens)) || "none named"],
      [
        "Chat template, on a sample",
        typeof facts.chat === "string" ? facts.chat : facts.chat.missing,
      ],
    ],
    colors,
  );
}

const LONGEST_VALUE = 100;

/** Lists of layers and of factors are whole in the JSON. */
const shortened = (text: string): string =>
  text.length > LONGEST_VALUE ? `${text.slice(0, LONGEST_VALUE - 1)}…` : text;

const sections = (parts: readonly (readonly [string, string])[], colors: Colors): string =>
  parts.map(([title, body]) => `${colors.bold(title)}\n${body.trimEnd()}\n`).join("\n");
