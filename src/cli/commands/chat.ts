// `tunesmith chat`: a conversation in the terminal.

import { createInterface } from "node:readline/promises";
import type { Command } from "commander";
import type { ChatMessage } from "../../hub/tokenizer-types.ts";
import { type Context, describeCommand } from "../command.ts";
import { addSamplingOptions, readSampling, type SamplingFlags } from "../sampling-options.ts";

interface Options extends SamplingFlags {
  readonly system?: string;
}

export function chatCommand({ console }: Context): Command {
  const command = describeCommand({
    usage: "chat",
    summary: "talk with a model",
    details: "Ctrl-C stops an answer, Ctrl-D ends the conversation, /new starts another one.",
    options: [["--system <text>", "a system message in front of the conversation"]],
    examples: [
      ["tunesmith chat --model ./my-model", "talk with it"],
      ["tunesmith chat --model ./my-model --adapter runs/mine-1/adapter", "with an adapter"],
      [`tunesmith chat --model ./my-model --system "Answer in French."`, "with instructions"],
    ],
  });
  return addSamplingOptions(command).action(async (options: Options) => {
    const sampling = readSampling(options);
    const { openConversation } = await import("../../recipe/conversation.ts");
    const conversation = await openConversation(options);
    const start: ChatMessage[] =
      options.system === undefined ? [] : [{ role: "system", content: options.system }];
    let messages = start;
    const lines = createInterface({ input: process.stdin, output: process.stderr });
    try {
      for (;;) {
        const line = await ask(lines, console.errColors.green("you  "));
        if (line === undefined) break;
        if (line.trim() === "") continue;
        if (line.trim() === "/new") {
          messages = start;
          continue;
        }
        messages = [...messages, { role: "user", content: line }];
        const stop = new AbortController();
        const onInterrupt = () => stop.abort();
        lines.once("SIGINT", onInterrupt);
        let answer = "";
        console.err(console.errColors.cyan("model "));
        for await (const piece of conversation.answer(messages, sampling, stop.signal)) {
          answer += piece;
          console.out(piece);
        }
        console.out("\n");
        lines.off("SIGINT", onInterrupt);
        messages = [...messages, { role: "assistant", content: answer }];
      }
    } finally {
      lines.close();
      await conversation.dispose();
    }
  });
}

/** One line, or undefined at the end of the input (Ctrl-D, or Ctrl-C at the prompt). */
async function ask(
  lines: ReturnType<typeof createInterface>,
  prompt: string,
): Promise<string | undefined> {
  const ended = new AbortController();
  const end = () => ended.abort();
  lines.once("close", end);
  try {
    return await lines.question(prompt, { signal: ended.signal });
  } catch {
    return undefined;
  } finally {
    lines.off("close", end);
  }
}
