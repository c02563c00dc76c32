// The layer order holds in src/, and the check that says so is itself seen to fail.

import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { findLayerBreaches } from "../scripts/layers.ts";

describe("layers", () => {
  let folder: string;
  beforeEach(async () => {
    folder = await mkdtemp(join(tmpdir(), "tunesmith-layers-"));
  });
  afterEach(() => rm(folder, { recursive: true }));

  async function write(files: Record<string, string>): Promise<void> {
    for (const [file, text] of Object.entries(files)) {
      await mkdir(dirname(join(folder, file)), { recursive: true });
      await writeFile(join(folder, file), text);
    }
  }

  it("are kept by src/", async () => {
    expect(await findLayerBreaches(join(import.meta.dirname, "..", "src"))).toEqual([]);
  });

  it("may import downwards and sideways", async () => {
    await write({
      "errors.ts": "",
      "tensor/a.ts": `import { fail } from "../errors.ts";`,
      "hub/b.ts": `import type { A } from "../tensor/a.ts";\nimport { c } from "./c.ts";`,
      "hub/c.ts": "",
    });
    expect(await findLayerBreaches(folder)).toEqual([]);
  });

  it("are broken by an import that goes up, however it is written", async () => {
    await write({
      "cli/top.ts": "",
      "tensor/static.ts": `import {\n  top,\n} from "../cli/top.ts";`,
      "tensor/dynamic.ts": `const top = await import("../cli/top.ts");`,
      "tensor/again.ts": `export * from "../cli/top.ts";`,
    });
    expect(await findLayerBreaches(folder)).toEqual([
      "tensor/again.ts imports cli/top.ts, which is in a higher layer",
      "tensor/dynamic.ts imports cli/top.ts, which is in a higher layer",
      "tensor/static.ts imports cli/top.ts, which is in a higher layer",
    ]);
  });

  it("are broken by a circle, a missing file and a folder without a place", async () => {
    await write({
      "hub/a.ts": `import "./b.ts";`,
      "hub/b.ts": `import "./a.ts";\nimport "./gone.ts";`,
      "misc/c.ts": `import "../hub/a.ts";`,
    });
    expect(await findLayerBreaches(folder)).toEqual([
      "hub/b.ts imports hub/gone.ts, which does not exist",
      "misc/c.ts is in no layer: add its folder to LAYERS",
      "circle: hub/a.ts → hub/b.ts → hub/a.ts",
    ]);
  });

  it("cannot be checked where there is nothing to check", async () => {
    await expect(findLayerBreaches(folder)).rejects.toThrow("no TypeScript file");
  });
});
