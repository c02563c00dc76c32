// Images and conversations against what Transformers' processor makes of them (tests/parity/cases/image-processor):
// pixel values to the last digit that Pillow gives, and the same tokens.

import { readFileSync } from "node:fs";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { crc32, deflateSync } from "node:zlib";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
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

it.each(Object.keys(stored.images))("%s: the tokens of Transformers", async (name) => {
  const { file, settings, inputIds } = stored.images[name];
  const tokenizer = await loadTokenizerFolder(PROCESSOR);
  await withSettings(settings, async (folder) => {
    const { prompt } = await (await loadImageProcessor(folder, tokensOf))!.open(join(CASES, file));
    expect(tokenizer.encode(`a${prompt}b`, { addSpecialTokens: false })).toEqual(inputIds);
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

describe("files that are no images", () => {
  let folder: string;
  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), "tunesmith-no-images-"));
  });
  afterAll(() => rm(folder, { recursive: true }));
  const start = (name: string, bytes: number) => readFileSync(join(CASES, name)).subarray(0, bytes);
  const drawing = '<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"></svg>';

  it.each<[name: string, content: string | Uint8Array, told: string]>([
    ["empty.png", "", "a file of 0 bytes"],
    ["text.png", "this is no image", "unsupported image format"],
    ["drawing.png", drawing, "a file of the kind svg"],
    ["half.png", start("wide.png", 3000), "a PNG without its end"],
    ["half.jpg", start("photo.jpg", 3000), "a JPEG without its end"],
    ["half.webp", start("lossy.webp", 150), "unable to parse image"],
    ["half.gif", start("gif.gif", 200), "Unexpected end"],
    ["bomb.png", largePng(60_000), "60000 × 60000 pixels"],
  ])("%s", async (name, content, told) => {
    const processor = (await loadImageProcessor(PROCESSOR, tokensOf))!;
    await writeFile(join(folder, name), content);
    await expect(processor.open(join(folder, name))).rejects.toThrow(told);
  });

  it.each([
    ["https://example.org/photo.jpg", "an address"],
    ["data:image/png;base64,iVBORw0KGgo=", "written out as text"],
    [join(CASES, "wyde.png"), "wide.png?"],
    [CASES, "a folder"],
  ])("%s", async (path, told) => {
    const processor = (await loadImageProcessor(PROCESSOR, tokensOf))!;
    await expect(processor.open(path)).rejects.toThrow(told);
  });
});

/** The head of a square PNG, and hardly a byte of its pixels. */
function largePng(side: number): Buffer {
  const chunk = (type: string, data: Buffer) => {
    const named = Buffer.concat([Buffer.from(type), data]);
    const [length, checksum] = [Buffer.alloc(4), Buffer.alloc(4)];
    length.writeUInt32BE(data.length);
    checksum.writeUInt32BE(crc32(named));
    return Buffer.concat([length, named, checksum]);
  };
  const head = Buffer.from([0, 0, 0, 0, 0, 0, 0, 0, 8, 2, 0, 0, 0]);
  head.writeUInt32BE(side, 0);
  head.writeUInt32BE(side, 4);
  const signature = Buffer.from([0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a]);
  const pixels = deflateSync(Buffer.alloc(100));
  const chunks = [chunk("IHDR", head), chunk("IDAT", pixels), chunk("IEND", Buffer.alloc(0))];
  return Buffer.concat([signature, ...chunks]);
}
