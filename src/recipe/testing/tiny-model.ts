// A model folder of a few kilobytes for tests that run whole commands: the weights of a parity case
// with a tokenizer of single characters and a chat template.

import { existsSync } from "node:fs";
import { copyFile, mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";

const CASES = join(import.meta.dirname, "../../../tests/parity/cases");
const CASE = join(CASES, "llama/base/model");

/** Printable ASCII as far as the model's vocabulary of 97 goes; Ġ is a space to a byte-level tokenizer. */
const CHARACTERS = [
  "Ġ",
  ...Array.from({ length: 93 }, (_, index) => String.fromCharCode(33 + index)),
];
const SPECIAL = ["<pad>", "<s>", "</s>"];

/** Writes the model to `folder`; `weights` is the folder of another model with a vocabulary of 97. */
export async function writeTinyModel(folder: string, weights = CASE): Promise<void> {
  await mkdir(folder, { recursive: true });
  for (const file of ["config.json", "generation_config.json", "model.safetensors"])
    if (existsSync(join(weights, file))) await copyFile(join(weights, file), join(folder, file));
  const tokens = [...SPECIAL, ...CHARACTERS];
  const tokenizer = {
    version: "1.0",
    added_tokens: SPECIAL.map((content, id) => ({
      id,
      content,
      special: true,
      single_word: false,
      lstrip: false,
      rstrip: false,
      normalized: false,
    })),
    normalizer: null,
    pre_tokenizer: {
      type: "ByteLevel",
      add_prefix_space: false,
      trim_offsets: true,
      use_regex: true,
    },
    post_processor: null,
    decoder: { type: "ByteLevel", add_prefix_space: true, trim_offsets: true, use_regex: true },
    model: {
      type: "BPE",
      vocab: Object.fromEntries(tokens.map((token, id) => [token, id])),
      merges: [],
    },
  };
  await writeFile(join(folder, "tokenizer.json"), JSON.stringify(tokenizer));
  const settings = {
    bos_token: "<s>",
    eos_token: "</s>",
    pad_token: "<pad>",
    chat_template:
      "{% for message in messages %}{{ message['role'][0] + ':' + message['content'] + '</s>' }}{% endfor %}" +
      "{% if add_generation_prompt %}{{ 'a:' }}{% endif %}",
  };
  await writeFile(join(folder, "tokenizer_config.json"), JSON.stringify(settings));
}

/** A model of that size that looks at images: each of them one square, so that a few fit into its context. */
export async function writeTinyVisionModel(folder: string): Promise<void> {
  await writeTinyModel(folder, join(CASES, "images/idefics3/model"));
  for (const file of ["tokenizer.json", "tokenizer_config.json", "chat_template.jinja"])
    await copyFile(join(CASES, "image-processor/processor", file), join(folder, file));
  const settings = { size: { longest_edge: 24 }, max_image_size: { longest_edge: 24 } };
  await writeFile(join(folder, "preprocessor_config.json"), JSON.stringify(settings));
}

/** Lines of chats short enough for the tiny model's context. */
export function tinyChats(count: number): string {
  return Array.from({ length: count }, (_, index) =>
    JSON.stringify({
      messages: [
        { role: "user", content: `say ${index}` },
        { role: "assistant", content: `${index} it is` },
      ],
    }),
  ).join("\n");
}
