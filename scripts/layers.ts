// The order of the layers, and the check that imports only go down it and never in a circle.
// This list is the one place where the order is written for machines; the README shows it to people.

import { readdir, readFile } from "node:fs/promises";
import { dirname, join, relative, sep } from "node:path";

/** Lowest first: a layer may import from itself and from those before it. */
export const LAYERS = [
  "tensor",
  "onnx",
  "runtime",
  "hub",
  "models",
  "methods",
  "adapters",
  "engine",
  "generate",
  "data",
  "objectives",
  "train",
  "api",
  "recipe",
  "cli",
] as const;

/** Files at the top of `src/` that every layer may import. */
const SHARED_FILES = ["errors.ts"];

/** Files at the top of `src/` that no layer may import: they stand above all. */
const TOP_FILES = ["index.ts"];

const IMPORT =
  /(?:^|[\s;])(?:import|export)\s(?:[^"';]*?\sfrom\s+)?"(\.[^"]+)"|\bimport\(\s*"(\.[^"]+)"/g;

/** Every breach under `source`, as sentences; throws when there is no file to check. */
export async function findLayerBreaches(source: string): Promise<string[]> {
  const files = await typescriptFiles(source);
  if (files.length === 0) throw new Error(`layers: no TypeScript file under ${source}`);
  const imports = new Map<string, string[]>();
  for (const file of files) {
    const text = await readFile(join(source, file), "utf8");
    imports.set(file, importedFiles(file, text));
  }
  const breaches: string[] = [];
  for (const [file, targets] of imports)
    for (const target of targets) {
      if (!imports.has(target)) breaches.push(`${file} imports ${target}, which does not exist`);
      else breaches.push(...breachOfOrder(file, target));
    }
  return [...breaches, ...findCircles(imports)];
}

async function typescriptFiles(source: string): Promise<string[]> {
  const entries = await readdir(source, { recursive: true, withFileTypes: true });
  return entries
    .filter((entry) => entry.isFile() && entry.name.endsWith(".ts"))
    .map((entry) => relative(source, join(entry.parentPath, entry.name)).split(sep).join("/"))
    .sort();
}

function importedFiles(file: string, text: string): string[] {
  return [...text.matchAll(IMPORT)].map((match) =>
    join(dirname(file), (match[1] ?? match[2])!)
      .split(sep)
      .join("/"),
  );
}

function breachOfOrder(file: string, target: string): string[] {
  if (TOP_FILES.includes(file) || file.endsWith(".test.ts") || SHARED_FILES.includes(target))
    return [];
  const from = layerIndex(file);
  const to = layerIndex(target);
  if (from === -1) return [`${file} is in no layer: add its folder to LAYERS`];
  if (to === -1) return [`${file} imports ${target}, which is in no layer`];
  return from >= to ? [] : [`${file} imports ${target}, which is in a higher layer`];
}

function layerIndex(file: string): number {
  return (LAYERS as readonly string[]).indexOf(file.split("/")[0]!);
}

/** Depth-first search; each circle is told once, at the edge that closes it. */
function findCircles(imports: ReadonlyMap<string, readonly string[]>): string[] {
  const circles: string[] = [];
  const finished = new Set<string>();
  const path: string[] = [];
  const visit = (file: string): void => {
    if (finished.has(file)) return;
    const start = path.indexOf(file);
    if (start !== -1) {
      circles.push(`circle: ${[...path.slice(start), file].join(" → ")}`);
      return;
    }
    path.push(file);
    for (const target of imports.get(file) ?? []) visit(target);
    path.pop();
    finished.add(file);
  };
  for (const file of imports.keys()) visit(file);
  return circles;
}
