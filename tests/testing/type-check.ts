// Whether TypeScript from the documentation has the right types, against the real ones.

import { execFile } from "node:child_process";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";

const ROOT = join(import.meta.dirname, "..", "..");
const COMPILER = join(ROOT, "node_modules", "typescript", "bin", "tsc");

/** What the compiler says of programs that import "tunesmith", each under its name; "" if nothing. */
export async function typeFaults(programs: ReadonlyMap<string, string>): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), "tunesmith-types-"));
  try {
    const settings = {
      extends: join(ROOT, "tsconfig.json"),
      compilerOptions: {
        paths: { tunesmith: [join(ROOT, "src", "index.ts")] },
        typeRoots: [join(ROOT, "node_modules", "@types")],
        moduleDetection: "force",
      },
      include: ["*.ts", join(ROOT, "src", "**", "*.d.ts")],
    };
    await writeFile(join(folder, "tsconfig.json"), JSON.stringify(settings));
    await writeFile(join(folder, "package.json"), JSON.stringify({ type: "module" }));
    for (const [name, text] of programs)
      await writeFile(join(folder, `${name.replaceAll(/\W/g, "-")}.ts`), text);
    return await new Promise((resolve) => {
      execFile(process.execPath, [COMPILER, "-p", folder], (error, out, err) =>
        resolve(error === null ? "" : out + err || error.message),
      );
    });
  } finally {
    await rm(folder, { recursive: true });
  }
}
