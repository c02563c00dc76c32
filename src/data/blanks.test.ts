import { describe, expect, it } from "vitest";
import { openTiny } from "../engine/testing/tiny-models.ts";
import { createRandom } from "../runtime/random.ts";
import { answeredBlank, blankedText, openBlank, roomForText, withShortBlanks } from "./blanks.ts";
import { collate } from "./collate.ts";
import type { Sample } from "./sample.ts";

const MASK = 93;
const GENERATION = 94;
const START = 96;
const END = 95;
const END_OF_TEXT = 2;
const TOKENS = { mask: MASK, generationMask: GENERATION, start: START, end: END };

/** A text of so many different tokens, none of them special. */
const textOf = (length: number) => Array.from({ length }, (_, index) => 1000 + index);
const blanked = (text: readonly number[], seed: number) =>
  blankedText(text, TOKENS, END_OF_TEXT, createRandom(seed));
const isShort = ({ inputIds }: { inputIds: number[] }) => inputIds.includes(MASK);

/** The text that filling the blanks gives, and how long what fills each is, in the order of filling. */
function filled({ inputIds, labels, contextLength, positionIds }: ReturnType<typeof blanked>) {
  const context = inputIds.slice(0, contextLength);
  const fillings = new Map<number, number[]>();
  for (let t = contextLength!; t < inputIds.length; t++) {
    const place = positionIds?.[t] ?? context.length - 1;
    if (inputIds[t] === START) fillings.set(place, []);
    const next = labels[t + 1];
    if (next !== undefined && next !== END) fillings.get(place)!.push(next);
  }
  const text = context.flatMap((id, t) => fillings.get(t) ?? [id]);
  return { text, lengths: [...fillings.values()].map(({ length }) => length) };
}

describe("a prompt and its completion", () => {
  it("has the long blank at the end, and positions that go on", () => {
    expect(answeredBlank([5, 6], [7, 8], TOKENS, END_OF_TEXT)).toEqual({
      inputIds: [5, 6, GENERATION, START, 7, 8, END],
      labels: [-100, -100, -100, -100, 7, 8, END],
      contextLength: 3,
    });
  });

  it("fills the first short blank that the prompt has, at its place", () => {
    expect(answeredBlank([5, MASK, 6], [7, END], TOKENS, END_OF_TEXT)).toEqual({
      inputIds: [5, MASK, 6, END_OF_TEXT, START, 7, END],
      labels: [-100, -100, -100, -100, -100, 7, END],
      contextLength: 4,
      positionIds: [0, 1, 2, 3, 1, 1, 1],
    });
    expect(openBlank([5, MASK], TOKENS, END_OF_TEXT)).toEqual([5, MASK, START]);
    expect(openBlank([5, MASK, 6], TOKENS, undefined)).toEqual([5, MASK, 6, START]);
    expect(openBlank([5, GENERATION, START, 7], TOKENS, END_OF_TEXT)).toEqual([
      5,
      GENERATION,
      START,
      7,
    ]);
  });
});

describe("a text", () => {
  it("is laid out as in figure 2 of Du et al.", () => {
    const spans = [
      { start: 4, end: 6 },
      { start: 2, end: 3 },
    ];
    const { inputIds, labels, contextLength, positionIds } = withShortBlanks(
      [11, 12, 13, 14, 15, 16],
      spans,
      TOKENS,
    );
    expect(contextLength).toBe(5);
    expect(inputIds).toEqual([11, 12, MASK, 14, MASK, START, 15, 16, START, 13, END]);
    expect(positionIds).toEqual([0, 1, 2, 3, 4, 4, 4, 4, 2, 2, 2]);
    // What each token predicts is the label behind it.
    expect(labels.slice(5)).toEqual([-100, 15, 16, END, 13, END]);
  });

  it("comes back whole from its blanks, whatever its length", () => {
    for (let seed = 0; seed < 300; seed++) {
      const text = [...textOf(2 + (seed % 90)), ...(seed % 2 ? [END_OF_TEXT] : [])];
      const sample = blanked(text, seed);
      expect(filled(sample).text).toEqual(text);
      expect(sample.labels).toHaveLength(sample.inputIds.length);
      const trained = sample.labels.findIndex((label) => label !== -100);
      expect(trained).toBe(sample.contextLength! + 1);
      // The text's own end is given where blanks are within it.
      if (isShort(sample) && seed % 2)
        expect(sample.inputIds.slice(sample.contextLength)).not.toContain(END_OF_TEXT);
    }
  });

  it("has blanks in the shares of GLM-130B", () => {
    const samples = Array.from({ length: 4000 }, (_, seed) => blanked(textOf(400), seed));
    const short = samples.filter(isShort);
    expect(short.length / samples.length).toBeCloseTo(0.3, 1);
    const lengths = short.flatMap((sample) => filled(sample).lengths);
    const sum = (list: number[]) => list.reduce((total, one) => total + one, 0);
    // Poisson's mean without its zeros, and what a limit on their number takes away.
    expect(sum(lengths) / lengths.length).toBeCloseTo(3 / (1 - Math.exp(-3)), 1);
    expect(sum(lengths) / short.length / 400).toBeCloseTo(0.15, 2);
    const long = samples.filter((sample) => !isShort(sample));
    const shares = long.map((sample) => filled(sample).lengths[0]! / 400);
    expect(sum(shares) / long.length).toBeCloseTo(0.5, 1);
    expect(shares.filter((share) => share < 0.25).length / long.length).toBeCloseTo(0.25, 1);
  });

  it("fills blanks in an order of their own", () => {
    const orders = Array.from({ length: 60 }, (_, seed) => blanked(textOf(60), seed))
      .filter(isShort)
      .map(({ positionIds, contextLength }) => positionIds!.slice(contextLength));
    expect(orders.some((order) => order[0]! < order.at(-1)!)).toBe(true);
    expect(orders.some((order) => order[0]! > order.at(-1)!)).toBe(true);
  });

  it("fits into a row with its blanks", () => {
    for (const maxLength of [8, 33, 128, 1024]) {
      const room = roomForText(maxLength);
      expect(room).toBeGreaterThan(0.6 * maxLength - 3);
      for (let seed = 0; seed < 200; seed++) {
        const { inputIds } = blanked(textOf(room), seed);
        expect(inputIds.length).toBeLessThanOrEqual(maxLength);
      }
    }
  });

  it("of one token is all blank", () => {
    expect(blanked([7], 3).inputIds).toEqual([GENERATION, START, 7]);
  });
});

it("stands in a batch as it is laid out, side by side and packed", () => {
  const samples: Sample[] = [
    { ...answeredBlank([5, MASK, 6], [7], TOKENS, END_OF_TEXT), where: "" },
    { ...answeredBlank([5], [7], TOKENS, END_OF_TEXT), where: "" },
  ];
  const options = { maxLength: 12, padTokenId: 0 };
  const apart = collate(
    samples.map((sample) => [sample]),
    { ...options, packing: false },
  );
  const [filled, goesOn] = [
    [0, 1, 2, 3, 1, 1, 1],
    [0, 1, 2, 3, 4],
  ];
  const [long, short] = [
    [1, 1, 1, 1, 0, 0, 0],
    [1, 1, 0, 0, 0],
  ];
  const rest = (count: number) => new Array<number>(count).fill(0);
  expect(apart.positionIds).toEqual([
    [...filled, ...rest(5)],
    [...goesOn, ...rest(7)],
  ]);
  expect(apart.contextMask).toEqual([
    [...long, ...rest(5)],
    [...short, ...rest(7)],
  ]);
  const packed = collate([samples], { ...options, packing: true });
  expect(packed.positionIds).toEqual([[...filled, ...goesOn]]);
  expect(packed.contextMask).toEqual([[...long, ...short]]);
});

it("packed rows cost what they cost alone", async () => {
  const model = await openTiny("glm-130b");
  try {
    const samples: Sample[] = [12, 9, 5].map((length, seed) => {
      const text = Array.from({ length }, (_, index) => 3 + ((index * 7 + seed) % 80));
      return { ...blanked(text, 40 + seed), where: "" };
    });
    samples.push({ ...answeredBlank([5, MASK, 6], [7, 8], TOKENS, END_OF_TEXT), where: "" });
    expect(samples.some(isShort)).toBe(true);
    const options = { maxLength: 64, padTokenId: 0 };
    const apart = await model.evaluateLoss(
      collate(
        samples.map((sample) => [sample]),
        { ...options, packing: false },
      ),
    );
    const packed = await model.evaluateLoss(collate([samples], { ...options, packing: true }));
    expect(packed.tokenCount).toBe(apart.tokenCount);
    expect(packed.lossSum).toBeCloseTo(apart.lossSum, 3);
    const blind = collate([samples], { ...options, packing: true });
    const { contextMask: _, ...causal } = blind;
    expect(Math.abs((await model.evaluateLoss(causal)).lossSum - apart.lossSum)).toBeGreaterThan(
      0.1,
    );
  } finally {
    await model.dispose();
  }
});
