// A conversation: what was said so far goes in, the answer comes out as it is made. The model reads only
// what is new at each turn.
//
//     node examples/chat.ts [model] [adapter]

import { type ChatMessage, openConversation } from "../src/index.ts";

const [, , model = "assets/embedded-model", adapter] = process.argv;

const conversation = await openConversation({ model, adapter });
try {
  const messages: ChatMessage[] = [];
  for (const question of ["say 3", "say 4"]) {
    messages.push({ role: "user", content: question });
    process.stdout.write(`${question} → `);
    let answer = "";
    const sampling = { temperature: 0, maxNewTokens: 24 };
    for await (const piece of conversation.answer(messages, sampling)) {
      process.stdout.write(piece);
      answer += piece;
    }
    process.stdout.write("\n");
    messages.push({ role: "assistant", content: answer });
  }
} finally {
  await conversation.dispose();
}
