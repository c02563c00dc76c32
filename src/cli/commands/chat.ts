// `tunesmith chat`: a conversation in the terminal.

import { createInterface } from "node:readline/promises";
import type { Command } from "commander";
import type { ChatMessage } from "../../hub/index.ts";
import { type Context, describeCommand } from "../command.ts";
import { attend } from "../preparing.ts";
import { addSamplingOptions, readSampling, type SamplingFlags } from "../sampling-options.ts";

interface Options extends SamplingFlags {
  readonly system?: string;
}

export function chatCommand(context: Context): Command {
  const { console } = context;
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
    const conversation = await attend(context, (attended) =>
      openConversation({ ...options, ...attended }),
    );
    if (conversation === undefined) return;
    const start: ChatMessage[] =
      options.system === undefined ? [] : [{ role: "system", content: options.system }];
    let messages = start;
    const lines = createInterface({ input: process.stdin, output: process.stderr });
    lines.setPrompt(console.errColors.green("you  "));
    // A pipe has often ended before its lines are answered; a closed input takes no prompt.
    let inputEnded = false;
    lines.once("close", () => {
      inputEnded = true;
    });
    const prompt = () => {
      if (!inputEnded) lines.prompt();
    };
    try {
      prompt();
      // Ends at Ctrl-D, and at Ctrl-C where no answer is being written. The iterator keeps lines that a pipe brings while an answer is being written.
      for await (const line of lines) {
        if (line.trim() === "" || line.trim() === "/new") {
          if (line.trim() === "/new") messages = start;
          prompt();
          continue;
        }
        messages = [...messages, { role: "user", content: line }];
        const stop = new AbortController();
        const signal = AbortSignal.any([stop.signal, console.closed]);
        const onInterrupt = () => stop.abort();
        lines.once("SIGINT", onInterrupt);
        let answer = "";
        console.err(console.errColors.cyan("model "));
        for await (const piece of conversation.answer(messages, sampling, signal)) {
          answer += piece;
          console.out(piece);
        }
        console.out("\n");
        lines.off("SIGINT", onInterrupt);
        if (console.closed.aborted) break;
        messages = [...messages, { role: "assistant", content: answer }];
        prompt();
      }
    } finally {
      lines.close();
      await conversation.dispose();
    }
  });
}
