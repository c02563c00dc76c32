// `tunesmith generate`: one text continued, or one question answered, as it comes.

import type { Command } from "commander";
import { TunesmithError } from "../../errors.ts";
import { type Context, describeCommand } from "../command.ts";
import { listenForInterrupt } from "../interrupt.ts";
import { attend } from "../preparing.ts";
import {
  addResponseFormatOptions,
  type ResponseFormatFlags,
  readResponseFormat,
} from "../response-format-options.ts";
import { addSamplingOptions, readSampling, type SamplingFlags } from "../sampling-options.ts";

interface Options extends SamplingFlags, ResponseFormatFlags {
  readonly raw?: boolean;
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
      ["--json", "one JSON object with prompt, text and why it ended"],
    ],
    examples: [
      [`tunesmith generate --model ./my-model "What is a fjord?"`, "answer"],
      [
        `tunesmith generate --model ./my-model --adapter runs/mine-1/adapter "…"`,
        "with an adapter",
      ],
      [`tunesmith generate --model ./my-model --raw "Once upon a time"`, "continue a text"],
      [`tunesmith generate --model ./my-model --json-schema person.json "Name a sailor."`, "JSON"],
    ],
  });
  return addResponseFormatOptions(addSamplingOptions(command)).action(
    async (words: string[], options: Options) => {
      const responseFormat = await readResponseFormat(options);
      const sampling = { ...readSampling(options), responseFormat };
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
          : conversation.answer([{ role: "user", content: prompt }], sampling, interrupt.signal);
        let next = await pieces.next();
        for (; !next.done; next = await pieces.next()) {
          text += next.value;
          if (!options.json) console.out(next.value);
        }
        const stoppedBecause = next.value ?? "interrupt";
        console.out(options.json ? `${JSON.stringify({ prompt, text, stoppedBecause })}\n` : "\n");
        if (responseFormat !== undefined && stoppedBecause === "length") warnIncomplete(context);
        if (interrupt.signal.aborted) context.exitCode = 130;
      } finally {
        interrupt.dispose();
        await conversation.dispose();
      }
    },
  );
}

/** Who reads an answer by its form must not take half of one for a whole. */
function warnIncomplete(context: Context): void {
  const { console } = context;
  console.err(
    `${console.errColors.yellow("incomplete")}  the answer was cut off at --max-new-tokens or at the end of the model's context\n`,
  );
  context.exitCode = 1;
}

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
