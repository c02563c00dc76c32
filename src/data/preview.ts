// What a model will be trained on, to be looked at before training: every token's text and whether it
// is a target, the counts, and the lengths. Data first, then its rendering for a terminal.

import { basename } from "node:path";
import pc from "picocolors";
import { IGNORED_LABEL } from "../engine/batch.ts";
import type { Tokenizer } from "../hub/index.ts";
import type { DatasetReport } from "./load.ts";
import { type Sample, type SampleImage, targetsOf } from "./sample.ts";
import type { DatasetCounts, ImageCounts } from "./tally.ts";

/** A token's text; where a character takes several tokens, those together, and so all tokens of an image. */
export interface PreviewPiece {
  readonly tokenIds: readonly number[];
  readonly text: string;
  /** Whether the model is trained to predict it. */
  readonly trained: boolean;
}

export interface PreviewedSample {
  readonly where: string;
  readonly tokens: number;
  readonly targets: number;
  readonly pieces: readonly PreviewPiece[];
  /** What is right of the whole, where that is learned. */
  readonly label?: string;
}

/** Tokens decoded along with those before them, because some tokenizers drop a leading space. */
const DECODED_CONTEXT = 4;
/** A character never takes more tokens than it has bytes. */
const MAX_TOKENS_OF_CHARACTER = 4;

/**
 * A sample as pieces of text.
 * @param label what its `rowLabel` means
 */
export function previewSample(
  sample: Sample,
  tokenizer: Tokenizer,
  label?: string,
): PreviewedSample {
  const { inputIds, labels, where, images = [] } = sample;
  const pieces: PreviewPiece[] = [];
  let start = 0;
  for (let end = 1; end <= inputIds.length; end++) {
    const image = images.find((one) => one.start === start);
    if (image) end = image.end;
    const text = image ? describeImage(image) : textBetween(inputIds, start, end, tokenizer);
    const incomplete = text.endsWith("\ufffd") && end - start < MAX_TOKENS_OF_CHARACTER;
    if (incomplete && end < inputIds.length) continue;
    // The first position of a row is predicted from nothing, whatever its label says.
    const trained = inputIds
      .slice(start, end)
      .some((_, index) => start + index > 0 && labels[start + index] !== IGNORED_LABEL);
    pieces.push({ tokenIds: inputIds.slice(start, end), text, trained });
    start = end;
  }
  const targets = targetsOf(sample);
  return {
    where,
    tokens: inputIds.length,
    targets,
    pieces,
    ...(label !== undefined && { label }),
  };
}

/** In the place of tokens that say nothing to a reader. */
function describeImage({ path, start, end, pixelValues }: SampleImage): string {
  const [squares = 0] = pixelValues.shape;
  const read = squares === 1 ? "" : ` of ${squares} squares`;
  return `<${basename(path)}: ${end - start} tokens${read}>`;
}

export interface RenderOptions {
  /** Default: as the terminal and NO_COLOR say. Without colours, targets stand between ⟦ and ⟧. */
  readonly colors?: boolean;
  /** Characters shown of a sample at most. */
  readonly maxCharacters?: number;
}

/** A sample as terminal text: what is trained on in green, with token borders visible. */
export function renderPreview(sample: PreviewedSample, options: RenderOptions = {}): string {
  const { colors = pc.isColorSupported, maxCharacters = 4000 } = options;
  const paint = pc.createColors(colors);
  const { label } = sample;
  const learned = label === undefined ? `${sample.targets} trained on` : `label ${label}`;
  const header = `${sample.where}: ${sample.tokens} tokens, ${learned}`;
  const lines = [paint.bold(header)];
  let body = "";
  let shown = 0;
  let inTarget = false;
  let even = false;
  for (const { text, trained } of sample.pieces) {
    if (shown > maxCharacters) break;
    const visible = makeVisible(text);
    shown += visible.length;
    even = !even;
    if (colors) {
      const color = trained ? paint.green : paint.dim;
      // Every second token is underlined, which shows where tokens begin.
      const styled = (part: string) => (even ? color(part) : paint.underline(color(part)));
      body += visible
        .split("\n")
        .map((part) => (part === "" ? "" : styled(part)))
        .join("\n");
    } else {
      body += `${trained === inTarget ? "" : trained ? "⟦" : "⟧"}${visible}`;
      inTarget = trained;
    }
  }
  if (inTarget) body += "⟧";
  lines.push(body);
  if (shown > maxCharacters) lines.push(paint.dim("… (cut for display)"));
  return lines.join("\n");
}

/** The counts of a dataset and its lengths as terminal text. */
export function renderReport(report: DatasetReport, options: RenderOptions = {}): string {
  const paint = pc.createColors(options.colors ?? pc.isColorSupported);
  const lines = [
    `${paint.bold("files")}    ${report.files.join(", ")}`,
    `${paint.bold("format")}   ${report.format}${report.streaming ? ", streamed" : ""}`,
    `${paint.bold("train")}    ${describeCounts(report, report)}${report.complete ? "" : " (in the first records)"}`,
  ];
  if (report.eval) lines.push(`${paint.bold("eval")}     ${describeCounts(report.eval, report)}`);
  if (report.images) lines.push(`${paint.bold("images")}   ${describeImages(report.images)}`);
  if (report.evalInTrain > 0)
    lines.push(
      paint.yellow(
        `warning  ${report.evalInTrain} evaluation records are in the training data too`,
      ),
    );
  const { longest } = report;
  lines.push(`${paint.bold("longest")}  ${longest.tokens} tokens at ${longest.where}`);
  return [...lines, ...histogram(report, paint.dim)].join("\n");
}

/** How many images, and what each of them takes. */
function describeImages(counts: ImageCounts): string {
  const { images, files, tokens, least, most, squares } = counts;
  const each = least === most ? `${most} tokens each` : `${least} to ${most} tokens each`;
  const named = files < images ? ` in ${plural(files, "file")}` : "";
  return [
    `${plural(images, "image")}${named}`,
    `${each} (${tokens} in all)`,
    `${plural(squares, "square")} to encode`,
  ].join(", ");
}

const plural = (count: number, one: string) => `${count} ${one}${count === 1 ? "" : "s"}`;

const BAR_WIDTH = 40;

function histogram({ lengths }: DatasetCounts, dim: (text: string) => string): string[] {
  const most = Math.max(...lengths.map(({ samples }) => samples));
  return lengths.map(({ upTo, samples }) => {
    const bar = "█".repeat(Math.ceil((samples / most) * BAR_WIDTH));
    return `  ≤ ${String(upTo).padStart(6)} ${dim("tokens")} ${bar.padEnd(BAR_WIDTH)} ${samples}`;
  });
}

function describeCounts(counts: DatasetCounts, { judged }: DatasetReport): string {
  const share = Math.round((100 * counts.targets) / Math.max(1, counts.tokens));
  const parts = [
    `${counts.samples} samples`,
    `${counts.tokens} tokens`,
    judged ? "a label each" : `${counts.targets} trained on (${share} %)`,
    counts.truncated > 0 && `${counts.truncated} truncated`,
    counts.split > 0 && `${counts.split} split`,
    counts.dropped > 0 && `${counts.dropped} too long and dropped`,
    counts.untargeted > 0 && `${counts.untargeted} without anything to train on`,
  ];
  return parts.filter((part) => part !== false).join(", ");
}

function textBetween(
  tokenIds: readonly number[],
  start: number,
  end: number,
  tokenizer: Tokenizer,
): string {
  const from = Math.max(0, start - DECODED_CONTEXT);
  const before = tokenizer.decode(tokenIds.slice(from, start));
  const whole = tokenizer.decode(tokenIds.slice(from, end));
  return whole.startsWith(before)
    ? whole.slice(before.length)
    : tokenizer.decode(tokenIds.slice(start, end));
}

/** Line ends are shown and kept; what could steer the terminal or turn the reading order is shown. */
function makeVisible(text: string): string {
  return text.replaceAll(/\p{Cc}|\p{Bidi_Control}/gu, (character) => {
    if (character === "\n") return "↵\n";
    if (character === "\t") return "→";
    const code = character.charCodeAt(0);
    return code < 0x20 ? String.fromCharCode(0x2400 + code) : "␡";
  });
}
