// What a record asks for, from each of its columns, and what is no prompt.

import { expect, it } from "vitest";
import { readPrompt } from "./prompts.ts";

const [hi, hello] = [
  { role: "user", content: "Hi" },
  { role: "assistant", content: "Hello." },
];
const read = (record: Record<string, unknown>) => readPrompt({ record, where: "file:3" });

it.each<[object, unknown]>([
  [{ prompt: "Hi", completion: "Hello." }, "Hi"],
  [{ prompt: [hi] }, [hi]],
  [{ messages: [hi, hello] }, [hi]],
  [{ messages: [hi, hello, hi] }, [hi, hello, hi]],
  [
    {
      conversations: [
        { from: "human", value: "Hi" },
        { from: "gpt", value: "Hello." },
      ],
    },
    [hi],
  ],
  [{ messages: null, text: "Hi" }, "Hi"],
])("%j asks %j", (record, prompt) => expect(read({ ...record })).toEqual(prompt));

it.each([{}, { question: "Hi" }, { prompt: "" }, { messages: [hello] }])(
  "%j asks nothing",
  (record) => expect(() => read(record)).toThrow(/file:3[\s\S]*prompt, messages/),
);
