// A model that looks at images through whole commands: data with images are read and trained on, the adapter
// answers about an image, and what does not fit is told.

import { copyFile, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { openConversation } from "./conversation.ts";
import { previewRecipeData } from "./data.ts";
import { writeTinyModel, writeTinyVisionModel } from "./testing/tiny-model.ts";
import { train } from "./train.ts";

const IMAGES = join(import.meta.dirname, "../../tests/parity/cases/image-processor");

let folder: string;
let model: string;
const data = () => join(folder, "data.jsonl");

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "tunesmith-looks-"));
  model = join(folder, "model");
  await writeTinyVisionModel(model);
  for (const file of ["wide.png", "photo.jpg"])
    await copyFile(join(IMAGES, file), join(folder, file));
  await writeFile(data(), records());
});
afterAll(() => rm(folder, { recursive: true }));

const asked = { role: "user", content: [{ type: "image" }, { type: "text", text: "what?" }] };
const record = (image: string | string[], answer: string) =>
  JSON.stringify({ messages: [asked, { role: "assistant", content: answer }], images: image });
const records = () => [record(["wide.png"], "wide"), record("photo.jpg", "photo")].join("\n");

const recipe = (path: string) => ({
  model: { path: model },
  data: { train: path },
  method: { name: "lora" as const, rank: 4, targets: ["q_proj", "v_proj"] },
  train: { epochs: 8, batchSize: 2, learningRate: 1e-2 },
  output: join(folder, "run"),
});

describe("a model that looks at images", () => {
  it("reads them in data, and tells what is trained on", async () => {
    const { report, samples } = await previewRecipeData(recipe(data()), { samples: 2 });
    expect(report.samples).toBe(2);
    expect(report.images).toMatchObject({ images: 2, files: 2, least: 12, most: 12, squares: 2 });
    const [first] = samples;
    expect(first!.pieces.map(({ text }) => text).join("")).toContain("<wide.png: 12 tokens>");
    const tokens = first!.pieces.flatMap(({ tokenIds }) => tokenIds);
    expect(tokens.filter((id) => id === 96)).toHaveLength(9);
    const trained = first!.pieces.filter((piece) => piece.trained).map(({ text }) => text);
    expect(trained.join("")).toContain("wide");
    expect(trained.join("")).not.toContain("<image>");
  });

  it("cuts what stands behind an image, and counts samples that lose one", async () => {
    const cut = async (truncation: "keep_start" | "keep_end", maxLength: number) => {
      const from = recipe(data());
      const given = { ...from, data: { ...from.data, truncation, maxLength } };
      return previewRecipeData(given, { samples: 1 });
    };
    const { report, samples } = await cut("keep_start", 40);
    expect(report).toMatchObject({ truncated: 2, images: { images: 2, tokens: 24 } });
    expect(samples[0]!.pieces.map(({ text }) => text).join("")).toContain("<wide.png: 12 tokens>");
    for (const [rule, length] of [
      ["keep_start", 12],
      ["keep_end", 30],
    ] as const)
      await expect(cut(rule, length)).rejects.toThrow(/at least one record must have a token/);
  });

  it("learns from them, and answers about one with what it learned", async () => {
    const losses: number[] = [];
    let adapter = "";
    for await (const event of train(recipe(data()))) {
      if (event.type === "step-finished") losses.push(event.loss);
      if (event.type === "run-finished") adapter = event.adapterFolder!;
    }
    expect(losses.at(-1)).toBeLessThan(0.8 * losses[0]!);

    const conversation = await openConversation({ model, adapter });
    const about = async (image: string) => {
      const parts = [
        { type: "image", image: join(folder, image) },
        { type: "text", text: "what?" },
      ] as const;
      let text = "";
      const message = { role: "user", content: parts };
      for await (const piece of conversation.answer([message], { maxNewTokens: 4 })) text += piece;
      return text;
    };
    const first = await about("wide.png");
    await about("photo.jpg");
    expect(await about("wide.png")).toBe(first);
    await conversation.dispose();
  });
});

describe("batches", () => {
  it("have the loss of their rows one by one: with several images, with none, with one", async () => {
    const image = { type: "image" };
    const several = [image, { type: "text", text: "or" }, image];
    const rows = [
      { content: several, images: ["wide.png", "photo.jpg"] },
      { content: "nothing", images: [] },
      { content: [image], images: ["photo.jpg"] },
    ].map(({ content, images }, index) => {
      const answer = { role: "assistant", content: `${index}` };
      return JSON.stringify({ messages: [{ role: "user", content }, answer], images });
    });
    const path = join(folder, "mixed.jsonl");
    await writeFile(path, rows.join("\n"));
    const { report } = await previewRecipeData(recipe(path), { samples: 0 });
    expect(report.images).toMatchObject({ images: 3, files: 2, squares: 3, sampleSquares: 2 });
    const first = async (batchSize: number, targets: string[]) => {
      const method = { name: "lora" as const, rank: 4, targets };
      const batches = { batchSize, gradientAccumulation: 3 / batchSize, maxSteps: 1 };
      const from = { ...recipe(path), method, train: batches, output: join(folder, "mixed") };
      for await (const event of train(from, { overwrite: true }))
        if (event.type === "step-finished") return [event.loss, event.gradientNorm];
      return [];
    };
    for (const targets of [["q_proj"], ["proj", "out_proj", "down_proj"]]) {
      const [together, alone] = [await first(3, targets), await first(1, targets)];
      for (const [i, value] of together.entries()) expect(value).toBeCloseTo(alone[i]!, 4);
    }
  });
});

describe("what does not fit", () => {
  const previewOf = async (name: string, text: string, from = recipe(join(folder, name))) => {
    await writeFile(join(folder, name), text);
    return previewRecipeData(from, { samples: 1 });
  };

  it("a column with fewer paths than images", async () => {
    await expect(previewOf("few.jsonl", record([], "none"))).rejects.toThrow(
      "0 paths for 1 images",
    );
  });

  it("a model that does not say how it reads images, and reads texts all the same", async () => {
    const silent = join(folder, "silent");
    await writeTinyVisionModel(silent);
    await rm(join(silent, "preprocessor_config.json"));
    const path = join(folder, "silent.jsonl");
    const from = { ...recipe(path), model: { path: silent } };
    await expect(previewOf("silent.jsonl", record("wide.png", "x"), from)).rejects.toThrow(
      "images are read as preprocessor_config.json",
    );
    const text = [
      { role: "user", content: "what is it?" },
      { role: "assistant", content: "nothing" },
    ];
    const { samples } = await previewOf("silent.jsonl", JSON.stringify({ messages: text }), from);
    expect(samples[0]!.pieces.map((piece) => piece.text).join("")).toContain("what is it?");
  });

  it("files that are no images, by the record that names them", async () => {
    const told = async (image: string) =>
      previewOf("faulty.jsonl", [record("wide.png", "wide"), record(image, "none")].join("\n"));
    await writeFile(join(folder, "text.png"), "hello");
    for (const [image, seen] of [
      ["wade.png", /faulty.jsonl:2 \(.*wade.png\)[\s\S]*no file of that name[\s\S]*wide.png/],
      ["text.png", /faulty.jsonl:2 \(.*text.png\)[\s\S]*a whole file of a known kind/],
      [
        "https://example.org/a.png",
        /faulty.jsonl:2 \(https:..example.org.a.png\)[\s\S]*an address/,
      ],
    ] as const)
      await expect(told(image)).rejects.toThrow(seen);
  });

  it("a file that is broken where only decoding shows it, in training", async () => {
    const bytes = await readFile(join(folder, "wide.png"));
    bytes[bytes.length >> 1]! ^= 255;
    await writeFile(join(folder, "broken.png"), bytes);
    await writeFile(join(folder, "broken.jsonl"), record("broken.png", "none"));
    const events = train({ ...recipe(join(folder, "broken.jsonl")), output: join(folder, "no") });
    const toEnd = async () => {
      for await (const _ of events);
    };
    await expect(toEnd()).rejects.toThrow(/broken.jsonl:1 \(.*broken.png\)[\s\S]*libpng/);
  });

  it("images for a model that reads text alone", async () => {
    const text = join(folder, "text");
    await writeTinyModel(text);
    const from = { ...recipe(join(folder, "text.jsonl")), model: { path: text } };
    await expect(previewOf("text.jsonl", record("wide.png", "x"), from)).rejects.toThrow(
      "images are for models that look at them",
    );
  });
});
