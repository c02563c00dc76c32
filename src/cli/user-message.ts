// What a user says, with images in front.

import type { Message } from "../recipe/prompts.ts";

export function userMessage(text: string, images: readonly string[] = []): Message {
  if (images.length === 0) return { role: "user", content: text };
  const parts = images.map((image) => ({ type: "image", image }) as const);
  return { role: "user", content: [...parts, { type: "text", text }] };
}
