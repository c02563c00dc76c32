// `tunesmith generate`: one text continued, or one question answered, as it comes; or a file of them
// answered into a file.

import type { Command } from "commander";
import { TunesmithError } from "../../errors.ts";
import type { AnswerOptions } from "../../recipe/conversation.ts";
import { type Context, describeCommand } from "../command.ts";
import { listenForInterrupt } from "../interrupt.ts";
import { attend } from "../preparing.ts";
import { createCounter } from "../reply-counter.ts";
import {
  addResponseFormatOptions,
  type ResponseFormatFlags,
  readResponseFormat,
} from "../response-format-options.ts";
import { addSamplingOptions, readSampling, type SamplingFlags } from "../sampling-options.ts";
import { userMessage } from "../user-message.ts";

interface Options extends SamplingFlags, ResponseFormatFlags {
  readonly raw?: boolean;
  readonly image?: readonly string[];
  readonly json?: boolean;
  readonly data?: string;
  readonly out?: string;
  readonly batch?: string;
}

export function generateCommand(context: Context): Command {
  const { console } = context;
  const command = describeCommand({
    usage: "generate [prompt...]",
    summary: "let a model answer a prompt, or continue a text",
    details:
      "With a chat template the prompt is a user's message. Without one, or with --raw, it is continued. " +
      "With --data every record's prompt is answered, several at once, and --out gets the records with their replies.",
    arguments: { prompt: "the prompt; read from the standard input where there is none" },
    options: [
      ["--raw", "continue the text itself, without the chat template"],
      ["--image <files...>", "images in front of the prompt, for a model that looks at them"],
      ["--json", "one JSON object with prompt, text and why it ended"],
      ["--data <path|id>", "records with a prompt or messages, all of which are answered"],
      ["--out <file>", "where the records go, with a reply each: JSON lines"],
      ["--batch <count>", "how many of them are answered at once (16)"],
    ],
    examples: [
      [`tunesmith generate --model ./my-model "What is a fjord?"`, "answer"],
      [
        `tunesmith generate --model ./my-model --adapter runs/mine-1/adapter "…"`,
        "with an adapter",
      ],
      [`tunesmith generate --model ./my-vlm "What is this?" --image photo.jpg`, "about an image"],
      [`tunesmith generate --model ./my-model --raw "Once upon a time"`, "continue a text"],
      [`tunesmith generate --model ./my-model --json-schema person.json "Name a sailor."`, "JSON"],
      [
        "tunesmith generate --model ./my-model --data questions.jsonl --out answers.jsonl",
        "answer a file",
      ],
    ],
  });
  addResponseFormatOptions(addSamplingOptions(command));
  return command.action(async (words: string[], options: Options) => {
    const responseFormat = await readResponseFormat(options);
    const sampling = { ...readSampling(options), responseFormat };
    if (options.image && options.raw) throw imageWithout("--raw");
    if (options.image && options.data !== undefined) throw imageWithout("--data");
    if (options.data !== undefined || options.out !== undefined)
      return answerFile(context, words, options, sampling);
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
        : conversation.answer([userMessage(prompt, options.image)], sampling, interrupt.signal);
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
  });
}

/** Who reads an answer by its form must not take half of one for a whole. */
function warnIncomplete(context: Context): void {
  const { console } = context;
  console.err(
    `${console.errColors.yellow("incomplete")}  the answer was cut off at --max-new-tokens or at the end of the model's context\n`,
  );
  context.exitCode = 1;
}

/** Answers the records of a file, and shows how far it is. */
async function answerFile(
  context: Context,
  words: readonly string[],
  { data, out, batch, raw, model, adapter, dtype, quantization }: Options,
  sampling: AnswerOptions,
): Promise<void> {
  if (data === undefined || out === undefined || words.length > 0)
    throw halfAFile(data, out, words);
  const maxBatch = batch === undefined ? undefined : readBatch(batch);
  const { console } = context;
  const { generateFile } = await import("../../recipe/generate-file.ts");
  const counter = createCounter(console);
  const done = await attend(context, async (attended) => {
    const opened = { model, adapter, dtype, quantization };
    const given = { ...opened, ...sampling, ...attended, data, out, raw, maxBatch };
    try {
      return await generateFile({ ...given, onReply: counter.show });
    } finally {
      counter.finish();
      if (attended.signal.aborted) context.exitCode = 130;
    }
  });
  if (!done) return;
  const { replies, records, tokens, cutOff, seconds } = done;
  const speed = Math.round(tokens / Math.max(seconds, 1e-3));
  // Each record says why its reply ended, so the file is as it should be though some are not whole.
  const cut = cutOff > 0 ? `, ${cutOff} cut off` : "";
  console.out(`${replies} of ${records} records answered in ${out}${cut}, ${speed} tokens/s\n`);
}

function readBatch(text: string): number {
  const batch = Number(text);
  if (Number.isInteger(batch) && batch >= 1) return batch;
  throw new TunesmithError("config", {
    where: "--batch",
    rule: "a whole number of at least 1",
    seen: text,
    fix: "correct the number",
  });
}

const halfAFile = (data: string | undefined, out: string | undefined, words: readonly string[]) =>
  new TunesmithError("config", {
    where: "tunesmith generate",
    rule: "a file of prompts is named by --data, the file of replies by --out, and no prompt stands beside them",
    seen: [data === undefined && "no --data", out === undefined && "no --out", ...words.slice(0, 1)]
      .filter((part) => part !== false)
      .join(", "),
    fix: "write `tunesmith generate --model … --data questions.jsonl --out answers.jsonl`",
  });

const imageWithout = (flag: string) =>
  new TunesmithError("config", {
    where: "tunesmith generate --image",
    rule: "images stand in front of one prompt, as a message of the chat template",
    seen: flag,
    fix: `leave out ${flag}; records of --data name their images themselves`,
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
