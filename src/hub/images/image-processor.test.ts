// Images and conversations against what Transformers' processor makes of them (tests/parity/cases/image-processor):
// pixel values to the last digit that Pillow gives, and the same tokens.

import { readFileSync } from "node:fs";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, it } from "vitest";
import { openSafetensors } from "../safetensors/safetensors.ts";
import { encodeChat } from "../tokenizers/chat-template.ts";
import { loadTokenizerFolder } from "../tokenizers/tokenizer.ts";
import type { ContentPart } from "../tokenizers/tokenizer-types.ts";
import { loadImageProcessor } from "./image-processor.ts";

const CASES = join(import.meta.dirname, "../../../tests/parity/cases/image-processor");
const stored = JSON.parse(readFileSync(join(CASES, "case.json"), "utf8"));
const PROCESSOR = join(CASES, "processor");

/** Opens the stored processor with some settings changed. */
async function withSettings<Result>(
  settings: Record<string, unknown>,
  use: (folder: string) => Promise<Result>,
): Promise<Result> {
  const folder = await mkdtemp(join(tmpdir(), "tunesmith-images-"));
  const whole = JSON.parse(readFileSync(join(PROCESSOR, "processor_config.json"), "utf8"));
  const image_processor = { ...whole.image_processor, ...settings };
  try {
    await writeFile(join(folder, "processor_config.json"), JSON.stringify({ image_processor }));
    return await use(folder);
  } finally {
    await rm(folder, { recursive: true });
  }
}

const tokensOf = () => stored.tokensOfSquare;

it.each(Object.keys(stored.images))("%s: the pixel values of Transformers", async (name) => {
  const { file, settings } = stored.images[name];
  const expected = await openSafetensors(join(CASES, "expected.safetensors"));
  const { byteLength, shape } = expected.tensors.get(name)!;
  const bytes = new Uint8Array(byteLength);
  await expected.readInto(name, bytes);
  await expected.close();

  await withSettings(settings, async (folder) => {
    const processor = await loadImageProcessor(folder, tokensOf);
    const { pixelValues } = await processor!.open(join(CASES, file));
    expect(pixelValues.shape).toEqual(shape);
    const own = await pixelValues.data();
    const theirs = new Float32Array(bytes.buffer);
    let worst = 0;
    for (const [i, value] of theirs.entries()) worst = Math.max(worst, Math.abs(own[i]! - value));
    // A step of a byte is 1/127.5: what is left is the last digit of normalising in float32.
    expect(worst).toBeLessThan(2e-7);
  });
});

it("a conversation with images has the tokens of Transformers", async () => {
  const processor = (await loadImageProcessor(PROCESSOR, tokensOf))!;
  const tokenizer = await loadTokenizerFolder(PROCESSOR);
  const prompts: string[] = [];
  for (const name of stored.shown)
    prompts.push((await processor.open(join(CASES, stored.images[name].file))).prompt);
  const messages = stored.messages.map(
    ({ role, content }: { role: string; content: ContentPart[] }) => ({
      role,
      content: content.map((part) => (part.type === "text" ? part.text : "")).join(""),
      parts: content,
    }),
  );
  const images = { placeholder: processor.placeholder, prompts };
  const { inputIds } = encodeChat(tokenizer, messages, { addGenerationPrompt: true, images });
  expect(inputIds).toEqual(stored.inputIds);
});

it("what a user writes is no image", async () => {
  const tokenizer = await loadTokenizerFolder(PROCESSOR);
  const { inputIds } = encodeChat(tokenizer, [{ role: "user", content: "<image>" }], {
    images: { placeholder: "<image>", prompts: [] },
  });
  expect(inputIds).not.toContain(tokenizer.tokenToId("<image>"));
});

it("settings that are not implemented are told all at once", async () => {
  const settings = { image_processor_type: "ViTImageProcessor", do_normalize: false, resample: 4 };
  await withSettings(settings, async (folder) => {
    const loading = loadImageProcessor(folder, tokensOf);
    await expect(loading).rejects.toThrow(/image_processor_type[\s\S]*do_normalize[\s\S]*resample/);
  });
});

it("a file that is no image is told as such", async () => {
  const processor = (await loadImageProcessor(PROCESSOR, tokensOf))!;
  await expect(processor.open(join(CASES, "case.json"))).rejects.toThrow(
    "an image is a file of a known kind",
  );
});
