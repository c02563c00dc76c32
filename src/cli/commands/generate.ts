// `tunesmith generate`: one text continued, or one question answered, as it comes.

import type { Command } from "commander";
import { TunesmithError } from "../../errors.ts";
import type { ChatMessage } from "../../hub/index.ts";
import { type Context, describeCommand } from "../command.ts";
import { listenForInterrupt } from "../interrupt.ts";
import { attend } from "../preparing.ts";
import { addSamplingOptions, readSampling, type SamplingFlags } from "../sampling-options.ts";

interface Options extends SamplingFlags {
  readonly raw?: boolean;
  readonly image?: readonly string[];
  readonly json?: boolean;
}

export function generateCommand(context: Context): Command {
  const { console } = context;
  const command = describeCommand({
    usage: "generate [prompt...]",
    summary: "let a model answer a prompt, or continue a text",
    details:
      "With a chat template the prompt is a user's message. Without one, or with --raw, it is continued.",
    arguments: { prompt: "the prompt; read from the standard input where there is none" },
    options: [
      ["--raw", "continue the text itself, without the chat template"],
      ["--image <files...>", "images in front of the prompt, for a model that looks at them"],
      ["--json", "one JSON object with prompt and text"],
    ],
    examples: [
      [`tunesmith generate --model ./my-model "What is a fjord?"`, "answer"],
      [
        `tunesmith generate --model ./my-model --adapter runs/mine-1/adapter "…"`,
        "with an adapter",
      ],
      [`tunesmith generate --model ./my-vlm "What is this?" --image photo.jpg`, "about an image"],
      [`tunesmith generate --model ./my-model --raw "Once upon a time"`, "continue a text"],
    ],
  });
  return addSamplingOptions(command).action(async (words: string[], options: Options) => {
    const sampling = readSampling(options);
    if (options.raw && options.image) throw rawImages();
    const prompt = words.length > 0 ? words.join(" ") : await readInput();
    const { openConversation } = await import("../../recipe/conversation.ts");
    const conversation = await attend(context, (attended) =>
      openConversation({ ...options, ...attended }),
    );
    if (conversation === undefined) return;
    const interrupt = listenForInterrupt(() => {}, console.closed);
    let text = "";
    try {
      const pieces = options.raw
        ? conversation.continueText(prompt, sampling, interrupt.signal)
        : conversation.answer([question(prompt, options.image)], sampling, interrupt.signal);
      for await (const piece of pieces) {
        text += piece;
        if (!options.json) console.out(piece);
      }
      console.out(options.json ? `${JSON.stringify({ prompt, text })}\n` : "\n");
      if (interrupt.signal.aborted) context.exitCode = 130;
    } finally {
      interrupt.dispose();
      await conversation.dispose();
    }
  });
}

function question(prompt: string, images: readonly string[] = []): ChatMessage {
  if (images.length === 0) return { role: "user", content: prompt };
  const parts = [
    ...images.map((image) => ({ type: "image", image }) as const),
    { type: "text", text: prompt } as const,
  ];
  return { role: "user", content: prompt, parts };
}

const rawImages = () =>
  new TunesmithError("config", {
    where: "tunesmith generate --image",
    rule: "the chat template says where images stand in a prompt",
    seen: "--raw, which goes without it",
    fix: "leave out --raw",
  });

async function readInput(): Promise<string> {
  let text = "";
  if (!process.stdin.isTTY) for await (const chunk of process.stdin) text += chunk;
  if (text.trim() !== "") return text.replace(/\n$/, "");
  throw new TunesmithError("config", {
    where: "tunesmith generate",
    rule: "it needs a prompt",
    seen: "no words on the command line and nothing on the standard input",
    fix: 'write `tunesmith generate --model … "your prompt"`',
  });
}
