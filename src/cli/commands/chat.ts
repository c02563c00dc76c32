// `tunesmith chat`: a conversation in the terminal.

import { createInterface } from "node:readline/promises";
import type { Command } from "commander";
import { TunesmithError } from "../../errors.ts";
import type { Conversation } from "../../recipe/conversation.ts";
import type { Message } from "../../recipe/prompts.ts";
import { type Context, describeCommand } from "../command.ts";
import { attend } from "../preparing.ts";
import { addSamplingOptions, readSampling, type SamplingFlags } from "../sampling-options.ts";
import { userMessage } from "../user-message.ts";

interface Options extends SamplingFlags {
  readonly system?: string;
  readonly image?: readonly string[];
}

/** A line that names an image instead of saying something. */
const IMAGE_LINE = /^\s*\/image(?:\s+(.*\S))?\s*$/;

export function chatCommand(context: Context): Command {
  const { console } = context;
  const command = describeCommand({
    usage: "chat",
    summary: "talk with a model",
    details:
      "Ctrl-C stops an answer, Ctrl-D ends the conversation, /new starts another one. " +
      "/image FILE shows an image with the next message, to a model that looks at images.",
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
    const start: Message[] =
      options.system === undefined ? [] : [{ role: "system", content: options.system }];
    let messages = start;
    /** Shown with the next message. */
    let images = options.image ?? [];
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
        const named = IMAGE_LINE.exec(line);
        const isNew = line.trim() === "/new";
        if (line.trim() === "" || isNew || named) {
          if (isNew) [messages, images] = [start, []];
          if (named) images = [...images, ...(await shownImage(context, conversation, named[1]))];
          prompt();
          continue;
        }
        messages = [...messages, userMessage(line, images)];
        images = [];
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

/** The image that a line names, if it is one; says what it takes, or what is wrong with it. */
async function shownImage(
  { console }: Context,
  conversation: Conversation,
  named: string | undefined,
): Promise<readonly string[]> {
  const { dim, yellow } = console.errColors;
  if (named === undefined) {
    console.err(`${yellow("image")} name its file: /image photo.jpg\n`);
    return [];
  }
  // A file that is dropped on a terminal comes in quotes.
  const path = named.replace(/^(["'])(.*)\1$/, "$2");
  try {
    const { tokens } = await conversation.openImage(path);
    console.err(`${dim(`image ${path}: ${tokens} tokens, shown with your next message`)}\n`);
    return [path];
  } catch (error) {
    if (!(error instanceof TunesmithError)) throw error;
    console.err(`${yellow("image")} ${error.message}\n`);
    return [];
  }
}
