// Training data on a terminal: the counts, then samples in which what is trained on stands out.

import { renderPreview, renderReport } from "../data/index.ts";
import type { DataPreview } from "../recipe/data.ts";
import type { Colors } from "./console.ts";

/** The report and the samples of a preview, and how to read them. */
export function showPreview({ report, samples }: DataPreview, colors: Colors): string {
  const options = { colors: colors.isColorSupported };
  const legend = options.colors
    ? `${colors.green("green")} is trained on, ${colors.dim("grey")} is only read; every second token is underlined`
    : "⟦text⟧ is trained on, the rest is only read";
  const shown = samples.map((sample) => `${renderPreview(sample, options)}\n\n`).join("");
  return `${renderReport(report, options)}\n\n${shown}${samples.length > 0 ? `${legend}\n` : ""}`;
}
