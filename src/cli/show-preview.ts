// Training data on a terminal: what is trained on stands out, in colour or, without colour, in
// brackets.

import type { PreviewRow, PreviewSpan } from "../recipe/preview.ts";
import type { Colors } from "./console.ts";

/** Rows as text, each under a line with its counts. */
export function showPreviewRows(rows: readonly PreviewRow[], colors: Colors): string {
  return rows
    .map((row, index) => {
      const packed = row.samples.length > 1 ? `, ${row.samples.length} samples` : "";
      const head = `row ${index + 1}: ${row.tokens} tokens, ${row.trainedTokens} trained on${packed}`;
      const body = row.samples.map((spans) => spans.map((span) => showSpan(span, colors)).join(""));
      return `${colors.bold(head)}\n${body.join(colors.yellow("\n— next sample —\n"))}\n`;
    })
    .join("\n");
}

function showSpan({ text, trained }: PreviewSpan, colors: Colors): string {
  if (!colors.isColorSupported) return trained ? `⟦${text}⟧` : text;
  return trained ? colors.green(text) : colors.dim(text);
}

/** The line that says how to read the rows. */
export function previewLegend(colors: Colors): string {
  return colors.isColorSupported
    ? `${colors.green("green")} is trained on, ${colors.dim("grey")} is only read\n`
    : "⟦text⟧ is trained on, the rest is only read\n";
}
