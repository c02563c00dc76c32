// Pages of which a script writes one part: what stands between two markers.

/** `page` with `text` between `<!-- name:begin -->` and `<!-- name:end -->`. @throws Error without them */
export function betweenMarkers(page: string, name: string, text: string): string {
  const [begin, end] = [`<!-- ${name}:begin -->`, `<!-- ${name}:end -->`];
  const [before, rest] = page.split(begin);
  const after = rest?.split(end)[1];
  if (before === undefined || after === undefined)
    throw new Error(`the markers "${begin}" and "${end}" are missing`);
  return `${before}${begin}${text === "" ? "\n" : `\n\n${text}\n\n`}${end}${after}`;
}
