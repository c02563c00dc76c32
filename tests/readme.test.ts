// The README's examples run: its commands on a small model, its TypeScript, its recipe. So do those of
// the pages in docs/. And every link between the pages leads somewhere.

import { existsSync, readdirSync } from "node:fs";
import { readdir, readFile } from "node:fs/promises";
import { dirname, join, relative, sep } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { LAYERS } from "../scripts/layers.ts";
import { anchors, codeBlocks, commandLines, linkTargets } from "./testing/markdown.ts";
import { checkBlock } from "./testing/run-block.ts";
import { createSandbox, type Sandbox } from "./testing/sandbox.ts";
import { typeFaults } from "./testing/type-check.ts";

const ROOT = join(import.meta.dirname, "..");
const docs = (await readdir(join(ROOT, "docs"), { recursive: true }))
  .filter((name) => name.endsWith(".md"))
  .map((name) => join("docs", name));
const PAGES = ["README.md", "AGENTS.md", "examples/README.md", ...docs];
/** Pages of other folders, whose links are checked too. */
const OTHER_PAGES = ["assets/embedded-model", "bench/peers", "tests/parity"].map(
  (folder) => `${folder}/README.md`,
);
const pages = new Map(
  await Promise.all(
    [...PAGES, ...OTHER_PAGES].map(
      async (page) => [page, await readFile(join(ROOT, page), "utf8")] as const,
    ),
  ),
);

/** Pages with something to run; each gets a sandbox of its own, in which its blocks run in order. */
const withCode = PAGES.map((page) => [page, codeBlocks(pages.get(page)!)] as const).filter(
  ([, blocks]) => blocks.length > 0,
);

describe.each(withCode)("%s", (_, blocks) => {
  let sandbox: Sandbox;
  beforeAll(async () => {
    sandbox = await createSandbox();
  });
  afterAll(() => sandbox.remove());

  it.each(blocks.map((block) => [block.line, block.kind, block] as const))(
    "line %i: %s",
    (_line, _kind, block) => checkBlock(block, sandbox),
    180_000,
  );
});

describe("TypeScript", () => {
  it("of all pages has the right types", async () => {
    const programs = new Map(
      withCode.flatMap(([page, blocks]) =>
        blocks
          .filter(({ kind }) => kind === "ts run")
          .map(({ line, text }) => [`${page}:${line}`, text] as const),
      ),
    );
    expect(programs.size).toBeGreaterThan(0);
    expect(await typeFaults(programs)).toBe("");
  });

  it("is refused where it has not", async () => {
    const text =
      'import { loadModel } from "tunesmith";\nawait loadModel("x", { dtpye: "float32" });';
    expect(await typeFaults(new Map([["a", text]]))).toContain("dtpye");
  });
});

describe("links", () => {
  it.each([...pages.keys()])("of %s lead somewhere", (page) => {
    const broken = linkTargets(pages.get(page)!).filter((target) => {
      if (/^https?:/.test(target)) return false;
      const [path, anchor] = target.split("#") as [string, string?];
      const file = path === "" ? page : join(dirname(page), path);
      if (!existsSync(join(ROOT, file))) return true;
      if (anchor === undefined) return false;
      return !anchors(pages.get(relative(".", file)) ?? "").includes(anchor);
    });
    expect(broken).toEqual([]);
  });

  it("are found to be broken where they are", () => {
    expect(linkTargets("[a](x.md) `[b](y.md)` ![c](z.svg#d)")).toEqual(["x.md", "z.svg#d"]);
    expect(anchors("# One: two, `three`\n```\n# no\n```\n")).toEqual(["one-two-three"]);
  });
});

describe("the README", () => {
  const readme = pages.get("README.md")!;
  const files = readdirSync(join(ROOT, "src"), { recursive: true }).map(String);
  const layersWithFiles = new Set(
    files.filter((file) => /\.ts$/.test(file)).map((file) => file.split(sep)[0]),
  );

  it("shows the two commands first", () => {
    expect(codeBlocks(readme)[0]!.text).toMatch(/npm run quickstart[\s\S]*npm run check/);
  });

  it("lists every layer, in order", () => {
    const listed = [...readme.matchAll(/^ {2}(\w+)\/ {2,}\S/gm)].map((match) => match[1]!);
    expect(listed).toEqual([...new Set(LAYERS)].filter((layer) => layersWithFiles.has(layer)));
  });
});

describe("a code block", () => {
  let sandbox: Sandbox;
  beforeAll(async () => {
    sandbox = await createSandbox();
  });
  afterAll(() => sandbox.remove());

  it.each([
    ["sh", "tunesmith doctor", /no test covers/],
    ["sh run", "tunesmith train", /exit code 1/],
    ["sh run", "rm -rf my-model", /not tunesmith/],
    ["sh npm", "npm run quickstrat", /no script/],
    ["ts run", 'import { trian } from "tunesmith"; trian();', /exit code 1/],
    ["yaml recipe", "model: ./my-model\n", /data/],
    ["json schema", '{"type":"object","not":{}}', /#\/not/],
    ["json records", '{"mesages": []}', /columns/],
  ])("%s that is wrong fails: %s", async (kind, text, message) => {
    await expect(checkBlock({ kind, text, line: 1 }, sandbox)).rejects.toThrow(message);
  });

  it("must be closed", () => {
    expect(() => codeBlocks("```sh\nls\n")).toThrow("not closed");
  });

  it("is read as words", () => {
    expect(commandLines('a "b c" \\\n  --d  # e\n\n# f\n')).toEqual([["a", "b c", "--d"]]);
  });
});
