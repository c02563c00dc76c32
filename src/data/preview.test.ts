import { describe, expect, it } from "vitest";
import { casePath } from "../hub/testing/cases.ts";
import { loadTokenizerFolder } from "../hub/tokenizers/tokenizer.ts";
import type { DatasetReport } from "./load.ts";
import { previewSample, renderPreview, renderReport } from "./preview.ts";
import type { Sample } from "./sample.ts";
import { fakeTokenizer } from "./testing/fake-tokenizer.ts";

const fake = fakeTokenizer();

function sampleOf(prompt: string, rest: string, tokenizer = fake): Sample {
  const plain = { addSpecialTokens: false };
  const promptIds = tokenizer.encode(prompt, plain);
  const restIds = tokenizer.encode(rest, plain);
  return {
    inputIds: [...promptIds, ...restIds],
    labels: [...promptIds.map(() => -100), ...restIds],
    where: "train.jsonl:1",
  };
}

describe("previewSample", () => {
  it("gives each token's text and whether it is trained on", () => {
    expect(previewSample(sampleOf("a", "12b"), fake)).toEqual({
      where: "train.jsonl:1",
      tokens: 3,
      targets: 2,
      pieces: [
        { tokenIds: [10_097], text: "a", trained: false },
        { tokenIds: [1012], text: "12", trained: true },
        { tokenIds: [10_098], text: "b", trained: true },
      ],
    });
  });

  it("does not count the first token, which nothing predicts", () => {
    expect(previewSample(sampleOf("", "ab"), fake).pieces[0]!.trained).toBe(false);
  });

  it("shows characters of several tokens whole, and loses no text", async () => {
    const tokenizer = await loadTokenizerFolder(casePath("tokenizer/byte-level"));
    const text = "Zoë 𝔘𝔫𝔦 漢字 😀 say  two\n\tspaces";
    const sample = sampleOf("", text, tokenizer);
    const { pieces } = previewSample(sample, tokenizer);
    expect(pieces.map((piece) => piece.text).join("")).toBe(text);
    expect(pieces.flatMap((piece) => piece.tokenIds)).toEqual(sample.inputIds);
    expect(pieces.some((piece) => piece.tokenIds.length > 1)).toBe(true);
    expect(pieces.every((piece) => !piece.text.includes("\ufffd"))).toBe(true);
  });
});

describe("renderPreview", () => {
  it("marks what is trained on by brackets without colours", () => {
    const preview = previewSample(sampleOf("a\n", "b\tc"), fake);
    expect(renderPreview(preview, { colors: false })).toBe(
      "train.jsonl:1: 5 tokens, 3 trained on\na↵\n⟦b→c⟧",
    );
  });

  it("colours it where it may", () => {
    const text = renderPreview(previewSample(sampleOf("a", "b"), fake), { colors: true });
    expect(text).toContain("\u001b[32m"); // green
    expect(text).toContain("\u001b[2m"); // dim
    expect(text).not.toContain("⟦");
  });

  it("never lets data steer the terminal", () => {
    const preview = previewSample(sampleOf("\u001b[31m\u202e", "\u009b\u0007\r"), fake);
    const text = renderPreview(preview, { colors: false });
    expect(text.split("\n")[1]).toBe("␛[31m␡⟦␡␇␍⟧");
  });

  it("stops after a length", () => {
    const preview = previewSample(sampleOf("", "x".repeat(500)), fake);
    const text = renderPreview(preview, { colors: false, maxCharacters: 20 });
    expect(text.length).toBeLessThan(120);
    expect(text).toContain("cut for display");
  });
});

it("renderReport tells the counts, losses and lengths", () => {
  const counts = {
    records: 14,
    samples: 12,
    tokens: 1000,
    targets: 250,
    truncated: 1,
    split: 0,
    dropped: 2,
    untargeted: 0,
    longest: { tokens: 300, where: "train.jsonl:7" },
    lengths: [
      { upTo: 64, samples: 8 },
      { upTo: 128, samples: 4 },
    ],
  };
  const report: DatasetReport = {
    ...counts,
    files: ["train.jsonl"],
    format: "alpaca",
    streaming: false,
    complete: true,
    eval: { ...counts, samples: 3, tokens: 10, targets: 5, truncated: 0, dropped: 0 },
    evalInTrain: 2,
  };
  expect(renderReport(report, { colors: false })).toMatchInlineSnapshot(`
    "files    train.jsonl
    format   alpaca
    train    12 samples, 1000 tokens, 250 trained on (25 %), 1 truncated, 2 too long and dropped
    eval     3 samples, 10 tokens, 5 trained on (50 %)
    warning  2 evaluation records are in the training data too
    longest  300 tokens at train.jsonl:7
      ≤     64 tokens ████████████████████████████████████████ 8
      ≤    128 tokens ████████████████████                     4"
  `);
  const judged = renderReport({ ...report, judged: true }, { colors: false });
  expect(judged).toContain("train    12 samples, 1000 tokens, a label each, 1 truncated");
  expect(judged).toContain("eval     3 samples, 10 tokens, a label each\n");
});
