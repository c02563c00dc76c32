// What the layers above need of a tokenizer, whichever file it came from.

export interface ChatMessage {
  readonly role: string;
  /** Its text. */
  readonly content: string;
  /** Where there are images in it: text and images in their order. */
  readonly parts?: readonly ContentPart[];
}

/** A piece of a message. `image` is the path of a file. */
export type ContentPart =
  | { readonly type: "text"; readonly text: string }
  | { readonly type: "image"; readonly image: string };

export interface Tokenizer {
  readonly vocabularySize: number;
  readonly bosTokenId?: number;
  readonly eosTokenId?: number;
  readonly padTokenId?: number;
  /** The Jinja chat template, where the model has one. */
  readonly chatTemplate?: string;
  /**
   * Token ids of a text. `addSpecialTokens` (default true) adds what the tokenizer's post-processor
   * adds; `parseSpecialTokens` (default true) reads "<|im_start|>" as that token: false for text
   * written by users, which must not be able to forge a turn.
   */
  encode(
    text: string,
    options?: { addSpecialTokens?: boolean; parseSpecialTokens?: boolean },
  ): number[];
  /**
   * The text with its special-token strings broken up by marks that `encode` takes out again: pasted
   * into a chat template, it tokenises as it would alone and cannot forge a turn.
   */
  protect(text: string): string;
  decode(tokenIds: readonly number[], options?: { skipSpecialTokens?: boolean }): string;
  /**
   * The bytes that a token stands for within a text, undefined for special tokens. A tokenizer whose
   * texts are more than its tokens' bytes behind one another has no such function.
   */
  tokenBytes?(id: number): Uint8Array | undefined;
  tokenToId(token: string): number | undefined;
  idToToken(id: number): string | undefined;
}
