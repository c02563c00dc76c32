// The bytes that each token stands for within a text, which its name in the vocabulary is not: "Ġthe"
// is " the", "<0x0A>" a line break, and half a character has bytes though it has no text.

import { isJsonObject, type JsonObject } from "../json-file.ts";

/** Where a tokenizer's tokens have names. */
export interface TokenNames {
  name(id: number): string | undefined;
  /** Tokens that were added to the vocabulary: their names are their text, but for special ones. */
  readonly added: ReadonlyMap<number, { readonly content: string; readonly special: boolean }>;
}

/** What a decoder of `tokenizer.json` does to a token's name, bytes once it has come to them. */
type Step = (name: string) => string | Uint8Array;

const unchanged = (): Step => (name) => name;

/** Decoders by type; of what they do at the ends of a text, nothing is a token's own. */
const STEPS: Readonly<Record<string, (decoder: JsonObject) => Step | undefined>> = {
  ByteLevel: () => fromByteAlphabet,
  ByteFallback: () => (name) =>
    /^<0x[0-9A-Fa-f]{2}>$/.test(name) ? Uint8Array.of(Number.parseInt(name.slice(3, 5), 16)) : name,
  Replace({ pattern, content }) {
    const text = isJsonObject(pattern) ? pattern.String : undefined;
    if (typeof text !== "string" || typeof content !== "string") return undefined;
    return (name) => name.replaceAll(text, content);
  },
  Metaspace:
    ({ replacement }) =>
    (name) =>
      name.replaceAll(typeof replacement === "string" ? replacement : "▁", " "),
  Fuse: unchanged,
  Strip: unchanged,
};

/**
 * The bytes of a token by its id: undefined for special tokens and for ids without a token. Undefined
 * altogether for a decoder that does more than put bytes behind one another.
 */
export function createTokenBytes(
  definition: JsonObject,
  { name, added }: TokenNames,
): ((id: number) => Uint8Array | undefined) | undefined {
  const steps = stepsOf(definition.decoder);
  if (steps === undefined) return undefined;
  return (id) => {
    const addedToken = added.get(id);
    if (addedToken?.special) return undefined;
    let text: string | Uint8Array | undefined = addedToken?.content ?? name(id);
    if (text === undefined) return undefined;
    if (addedToken === undefined)
      for (const step of steps) if (typeof text === "string") text = step(text);
    return typeof text === "string" ? Buffer.from(text) : text;
  };
}

function stepsOf(decoder: unknown): Step[] | undefined {
  if (!isJsonObject(decoder)) return undefined;
  if (decoder.type === "Sequence" && Array.isArray(decoder.decoders)) {
    const parts = decoder.decoders.map(stepsOf);
    return parts.every((part) => part !== undefined) ? parts.flat() : undefined;
  }
  const make = Object.hasOwn(STEPS, String(decoder.type)) ? STEPS[String(decoder.type)] : undefined;
  const step = make?.(decoder);
  return step && [step];
}

/**
 * GPT-2's alphabet: printable bytes stand for themselves, the others for the characters from U+0100 on,
 * in their order. A name with any other character is its own text.
 */
function fromByteAlphabet(name: string): string | Uint8Array {
  const bytes = [...name].map((letter) => BYTE_ALPHABET.get(letter));
  return bytes.every((byte) => byte !== undefined) ? Uint8Array.from(bytes) : name;
}

const BYTE_ALPHABET: ReadonlyMap<string, number> = byteAlphabet();

function byteAlphabet(): Map<string, number> {
  const isPrintable = (byte: number) =>
    (byte >= 0x21 && byte <= 0x7e) || (byte >= 0xa1 && byte <= 0xac) || byte >= 0xae;
  const alphabet = new Map<string, number>();
  let others = 0;
  for (let byte = 0; byte < 256; byte++)
    alphabet.set(String.fromCodePoint(isPrintable(byte) ? byte : 0x100 + others++), byte);
  return alphabet;
}
