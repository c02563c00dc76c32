// The code blocks and links of a Markdown page, for the tests that hold the documentation to its word.

export interface CodeBlock {
  /** The whole word line behind the fence: `sh run`, `yaml recipe`, `text`. */
  readonly kind: string;
  readonly text: string;
  /** Line of the opening fence, from 1. */
  readonly line: number;
}

/** Every fenced block of a page. Throws where a fence is not closed. */
export function codeBlocks(page: string): CodeBlock[] {
  const blocks: CodeBlock[] = [];
  let open: { kind: string; line: number; text: string[] } | undefined;
  for (const [index, line] of page.split("\n").entries()) {
    const fence = /^```\s*(.*?)\s*$/.exec(line);
    if (fence === null) open?.text.push(line);
    else if (open === undefined) open = { kind: fence[1]!, line: index + 1, text: [] };
    else {
      blocks.push({ ...open, text: open.text.join("\n") });
      open = undefined;
    }
  }
  if (open !== undefined) throw new Error(`the code block of line ${open.line} is not closed`);
  return blocks;
}

/** The targets of all links and pictures outside code: `path`, `path#heading`, `https://…`. */
export function linkTargets(page: string): string[] {
  const prose = page.replaceAll(/^```[\s\S]*?^```/gm, "").replaceAll(/`[^`\n]*`/g, "");
  return [...prose.matchAll(/\]\(([^)\s]+)\)/g)].map((match) => match[1]!);
}

/** The anchors of a page's headings, made as GitHub makes them. */
export function anchors(page: string): string[] {
  const prose = page.replaceAll(/^```[\s\S]*?^```/gm, "");
  return [...prose.matchAll(/^#+ +(.*)$/gm)].map((match) =>
    match[1]!
      .toLowerCase()
      .replaceAll(/[^\p{L}\p{N} _-]/gu, "")
      .replaceAll(" ", "-"),
  );
}

/**
 * The words of each command in a block: comments and blank lines left out, lines that end in a
 * backslash joined, quotes taken off. What else a shell can do is not used in the documentation.
 */
export function commandLines(block: string): string[][] {
  return block
    .replaceAll("\\\n", " ")
    .split("\n")
    .map((line) =>
      [...line.replace(/(^|\s)#.*$/, "").matchAll(/"([^"]*)"|'([^']*)'|(\S+)/g)].map(
        ([, double, single, plain]) => double ?? single ?? plain!,
      ),
    )
    .filter((words) => words.length > 0);
}
