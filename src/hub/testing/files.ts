// Files for the hub's tests: hand-made bytes, temporary folders, and what a refusal must look like.

import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, onTestFinished } from "vitest";
import { TunesmithError } from "../../errors.ts";

/** A folder that goes when the test ends. */
export function temporaryFolder(): string {
  const folder = mkdtempSync(join(tmpdir(), "tunesmith-hub-"));
  onTestFinished(() => rmSync(folder, { recursive: true, force: true }));
  return folder;
}

/** Writes bytes or a text (objects as JSON) into a temporary folder; returns the path. */
export function temporaryFile(name: string, content: Uint8Array | string | object): string {
  const path = join(temporaryFolder(), name);
  const isRaw = typeof content === "string" || content instanceof Uint8Array;
  writeFileSync(path, isRaw ? content : JSON.stringify(content));
  return path;
}

/** Expects a TunesmithError whose text matches `pattern` and whose four parts all say something. */
export async function expectFault(work: Promise<unknown>, pattern: RegExp): Promise<void> {
  const error = await work.then(
    () => undefined,
    (reason: unknown) => reason,
  );
  if (!(error instanceof TunesmithError)) throw new Error(`no TunesmithError but ${String(error)}`);
  expect(error.message).toMatch(pattern);
  for (const { where, rule, seen, fix } of error.faults)
    for (const part of [where, rule, seen, fix]) expect(part.trim()).not.toBe("");
}

/** The bytes of a safetensors file with any header, truthful or not. */
export function safetensorsBytes(header: object | string, dataBytes = 0, length?: number) {
  const json = new TextEncoder().encode(
    typeof header === "string" ? header : JSON.stringify(header),
  );
  const bytes = new Uint8Array(8 + json.length + dataBytes);
  new DataView(bytes.buffer).setBigUint64(0, BigInt(length ?? json.length), true);
  bytes.set(json, 8);
  return bytes;
}

/** A small generator, so that a fuzz failure can be run again. */
export function seededRandom(seed: number): () => number {
  let state = seed >>> 0 || 1;
  return () => {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    return (state >>> 0) / 2 ** 32;
  };
}
