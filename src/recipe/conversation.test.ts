// Talking to a model: the answer follows the whole conversation, and ends when it is told to.

import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, it } from "vitest";
import { renderChat } from "../hub/index.ts";
import { type Conversation, openConversation } from "./conversation.ts";
import { writeTinyModel } from "./testing/tiny-model.ts";

let folder: string;
let conversation: Conversation;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "tunesmith-conversation-"));
  await writeTinyModel(folder);
  conversation = await openConversation({ model: folder });
});
afterAll(async () => {
  await conversation.dispose();
  await rm(folder, { recursive: true });
});

async function textOf(pieces: AsyncIterable<string>): Promise<string> {
  let text = "";
  for await (const piece of pieces) text += piece;
  return text;
}

const hello = { role: "user", content: "hello" };
const sampling = { maxNewTokens: 6, temperature: 1, seed: 4 };

it("answers as the text continues that the chat template makes", async () => {
  const answer = await textOf(conversation.answer([hello], sampling));
  const prompt = renderChat(conversation.tokenizer, [hello], { addGenerationPrompt: true });
  expect(answer).not.toBe("");
  expect(await textOf(conversation.continueText(prompt, sampling))).toBe(answer);
});

it("follows what was said before", async () => {
  const before = [hello, { role: "assistant", content: "one two three" }, hello];
  const short = await textOf(conversation.answer([hello], sampling));
  expect(await textOf(conversation.answer(before, sampling))).not.toBe(short);
  expect(await textOf(conversation.answer([hello], sampling))).toBe(short);
});

it("says nothing more once its signal aborts", async () => {
  expect(await textOf(conversation.answer([hello], sampling, AbortSignal.abort()))).toBe("");
});
