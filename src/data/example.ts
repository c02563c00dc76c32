// The one normal form of training data: whatever a file's columns are called, a record becomes an Example.

import type { ChatMessage } from "../hub/index.ts";

/** A prompt or a completion: text as it is, or turns for the model's chat template. */
export type TextOrMessages = string | readonly ChatMessage[];

export type Example =
  | { readonly kind: "conversation"; readonly messages: readonly ChatMessage[] }
  | {
      readonly kind: "completion";
      readonly prompt: TextOrMessages;
      readonly completion: TextOrMessages;
      /** The same as text, for a model without a chat template. */
      readonly plain?: { readonly prompt: string; readonly completion: string };
    }
  | { readonly kind: "text"; readonly text: string };
