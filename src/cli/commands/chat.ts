// `tunesmith chat`: a conversation in the terminal.

import { createInterface } from "node:readline/promises";
import type { Command } from "commander";
import type { Conversation } from "../../recipe/conversation.ts";
import type { Message } from "../../recipe/prompts.ts";
import { type ChatState, chatHelp, obeyLine } from "../chat-commands.ts";
import { type Context, describeCommand } from "../command.ts";
import { attend } from "../preparing.ts";
import { addSamplingOptions, readSampling, type SamplingFlags } from "../sampling-options.ts";
import { userMessage } from "../user-message.ts";

interface Options extends SamplingFlags {
  readonly system?: string;
  readonly image?: readonly string[];
}

export function chatCommand(context: Context): Command {
  const { console } = context;
  const command = describeCommand({
    usage: "chat",
    summary: "talk with a model",
    details:
      "Ctrl-C stops an answer, Ctrl-D ends the program. A line that begins with a slash is a command:" +
      `\n\n${chatHelp()}`,
    options: [
      ["--system <text>", "a system message in front of the conversation"],
      ["--image <files...>", "images in front of the first message"],
    ],
    examples: [
      ["tunesmith chat --model ./my-model", "talk with it"],
      ["tunesmith chat --model ./my-model --adapter runs/mine-1/adapter", "with an adapter"],
      [`tunesmith chat --model ./my-model --system "Answer in French."`, "with instructions"],
      ["tunesmith chat --model ./my-vlm --image photo.jpg", "about an image"],
    ],
  });
  return addSamplingOptions(command).action(async (options: Options) => {
    const sampling = readSampling(options);
    const { openConversation } = await import("../../recipe/conversation.ts");
    const conversation = await attend(context, async (attended) => {
      const opened = await openConversation({ ...options, ...attended });
      return withImages(opened, options.image);
    });
    if (conversation === undefined) return;
    const { system } = options;
    const messages: Message[] = system === undefined ? [] : [{ role: "system", content: system }];
    const start: ChatState = { messages, images: options.image ?? [] };
    let state = start;
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
        const obeyed = await obeyLine(line, state, { console, conversation, start });
        if (obeyed === undefined) break;
        if (obeyed !== "said") state = obeyed;
        if (obeyed !== "said" || line.trim() === "") {
          prompt();
          continue;
        }
        const asked = [...state.messages, userMessage(line.trim(), state.images)];
        const stop = new AbortController();
        const signal = AbortSignal.any([stop.signal, console.closed]);
        const onInterrupt = () => stop.abort();
        lines.once("SIGINT", onInterrupt);
        let answer = "";
        console.err(console.errColors.cyan("model "));
        for await (const piece of conversation.answer(asked, sampling, signal)) {
          answer += piece;
          console.out(piece);
        }
        console.out("\n");
        lines.off("SIGINT", onInterrupt);
        if (console.closed.aborted) break;
        state = { messages: [...asked, { role: "assistant", content: answer }], images: [] };
        prompt();
      }
    } finally {
      lines.close();
      await conversation.dispose();
    }
  });
}

/** The conversation, if all images can be shown in it. */
async function withImages(
  conversation: Conversation,
  images: readonly string[] = [],
): Promise<Conversation> {
  try {
    for (const image of images) await conversation.openImage(image);
    return conversation;
  } catch (error) {
    await conversation.dispose();
    throw error;
  }
}
