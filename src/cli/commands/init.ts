// `tunesmith init`: a commented recipe to start from.

import type { Command } from "commander";
import { type Context, describeCommand } from "../command.ts";

interface Options {
  readonly all?: boolean;
  readonly method?: string;
  readonly force?: boolean;
  readonly model?: string;
  readonly data?: string;
}

export function initCommand({ console }: Context): Command {
  return describeCommand({
    usage: "init [file]",
    summary: "write a commented recipe to start from",
    arguments: { file: "where to write it (default: recipe.yaml)" },
    options: [
      ["--model <path|id>", "the model to put in"],
      ["--data <file>", "the training data to put in"],
      [
        "--method <name>",
        "the method to put in, with all of its keys (default: lora, with the usual ones)",
      ],
      ["--all", "show every key of the method and of all other sections, with its default"],
      ["--force", "replace a file that is there"],
    ],
    examples: [
      ["tunesmith init", "write recipe.yaml"],
      ["tunesmith init --model ./my-model --data chats.jsonl", "with these two filled in"],
      ["tunesmith init --method dora", "with another method, and all of its keys as comments"],
      ["tunesmith init everything.yaml --all", "a recipe that shows every key"],
    ],
  }).action(async (file: string | undefined, options: Options) => {
    const { writeTemplate } = await import("../../recipe/template.ts");
    const path = file ?? "recipe.yaml";
    await writeTemplate(path, options);
    console.out(
      `wrote ${path}\n\nNext:\n` +
        `  tunesmith plan ${path}    what it would do: every value, the data, memory and time\n` +
        `  tunesmith train ${path}   do it\n`,
    );
  });
}
