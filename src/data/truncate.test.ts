import { describe, expect, it } from "vitest";
import { IGNORED_LABEL } from "../engine/batch.ts";
import { type Sample, targetsOf } from "./sample.ts";
import { TRUNCATION_RULES, tooLong, truncate } from "./truncate.ts";

/** Tokens 1, 2, …; those from `firstTarget` on are trained on. */
function sample(length: number, firstTarget = 0, lastTarget = length): Sample {
  const inputIds = Array.from({ length }, (_, index) => index + 1);
  const labels = inputIds.map((id, at) =>
    at >= firstTarget && at < lastTarget ? id : IGNORED_LABEL,
  );
  return { inputIds, labels, where: "train.jsonl:1" };
}

const targets = ({ inputIds, labels }: Sample) =>
  inputIds.filter((_, at) => at > 0 && labels[at]! > 0);

describe("truncate", () => {
  it("leaves what fits as it is, under every rule", () => {
    const short = sample(5);
    for (const rule of TRUNCATION_RULES)
      if (rule !== "auto")
        expect(truncate(short, 5, rule)).toEqual({ outcome: "kept", samples: [short] });
  });

  it("keeps the start or the end", () => {
    expect(truncate(sample(8), 5, "keep_start").samples[0]!.inputIds).toEqual([1, 2, 3, 4, 5]);
    const [end] = truncate(sample(8), 5, "keep_end").samples;
    expect(end!.inputIds).toEqual([4, 5, 6, 7, 8]);
    expect(end!.labels).toEqual([IGNORED_LABEL, 5, 6, 7, 8]);
  });

  it("splits without losing or repeating a target", () => {
    for (const length of [6, 9, 10, 13, 14]) {
      const whole = sample(length, 2, length - 1);
      const { outcome, samples } = truncate(whole, 5, "split");
      expect(outcome).toBe("split");
      expect(samples.flatMap(targets)).toEqual(targets(whole));
      for (const piece of samples) expect(piece.inputIds.length).toBeLessThanOrEqual(5);
    }
  });

  it("leaves out what has no target left, and counts it apart", () => {
    expect(truncate(sample(8, 5), 5, "keep_start")).toEqual({ outcome: "untargeted", samples: [] });
    expect(truncate(sample(8, 0, 4), 5, "keep_end")).toEqual({
      outcome: "untargeted",
      samples: [],
    });
    expect(truncate(sample(4, 4), 5, "error")).toEqual({ outcome: "untargeted", samples: [] });
    expect(truncate(sample(1), 5, "error")).toEqual({ outcome: "untargeted", samples: [] });
    const pieces = truncate(sample(13, 11), 5, "split").samples;
    expect(pieces.map(targetsOf)).toEqual([2]);
  });

  describe("of samples with images", () => {
    const pixelValues = { data: new Float32Array(), shape: [1] };
    const image = (start: number, end: number) => ({ path: "photo.jpg", start, end, pixelValues });
    /** Ten tokens, all trained on but those of images. */
    const seeing = (...spans: readonly [number, number][]): Sample => {
      const whole = sample(10);
      for (const [start, end] of spans) whole.labels.fill(IGNORED_LABEL, start, end);
      return { ...whole, images: spans.map(([start, end]) => image(start, end)) };
    };

    it("keep_start cuts what is behind an image, and never an image", () => {
      const [behind] = truncate(seeing([1, 4], [8, 10]), 7, "keep_start").samples;
      expect(behind).toMatchObject({ inputIds: [1, 2, 3, 4, 5, 6, 7], images: [image(1, 4)] });
      for (const cut of [3, 4, 5, 6]) {
        const [before] = truncate(seeing([1, 3], [3, 7]), cut, "keep_start").samples;
        expect(before ?? {}).not.toHaveProperty("images.1");
      }
      const [none] = truncate(seeing([2, 7]), 6, "keep_start").samples;
      expect(none!.inputIds).toEqual([1, 2]);
      expect(none).not.toHaveProperty("images");
      expect(truncate(seeing([1, 7]), 6, "keep_start").outcome).toBe("untargeted");
    });

    it("keep_end cuts in front of all images, or leaves the sample out", () => {
      const [kept] = truncate(seeing([4, 8]), 7, "keep_end").samples;
      expect(kept).toMatchObject({ inputIds: [4, 5, 6, 7, 8, 9, 10], images: [image(1, 5)] });
      for (const [start, end] of [
        [0, 2],
        [2, 6],
      ] as const)
        expect(truncate(seeing([start, end]), 7, "keep_end")).toEqual({
          outcome: "dropped",
          samples: [],
        });
    });

    it("split leaves them out", () => {
      expect(truncate(seeing([1, 3]), 7, "split").outcome).toBe("dropped");
    });
  });

  it("drops or refuses", () => {
    expect(truncate(sample(8), 5, "drop")).toEqual({ outcome: "dropped", samples: [] });
    expect(truncate(sample(8), 5, "error")).toEqual({ outcome: "refused", samples: [] });
    expect(
      tooLong({ count: 3, longest: { where: "train.jsonl:7", tokens: 900 } }, 512).message,
    ).toMatchInlineSnapshot(`
      "train.jsonl:7: a sample is at most 512 tokens long
        saw: 900 tokens; 3 samples are too long, this is the longest
        fix: raise the maximum length, or choose a truncation: keep_start, keep_end, split or drop"
    `);
  });
});
