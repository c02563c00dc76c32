// Merged model folders: the type asked for, files of a size, and everything that stood beside the weights.

import { mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, it } from "vitest";
import { openCheckpoint } from "../hub/index.ts";
import { expectFault } from "../hub/testing/files.ts";
import { merge } from "./merge.ts";
import { writeTinyModel } from "./testing/tiny-model.ts";

const cases = join(import.meta.dirname, "../../tests/parity/cases");
const adapter = join(cases, "lora/all-linear/adapter");

let scratch: string;
let model: string;
beforeAll(async () => {
  scratch = await mkdtemp(join(tmpdir(), "tunesmith-merge-"));
  model = join(scratch, "model");
  await writeTinyModel(model);
  await writeFile(join(model, "chat_template.jinja"), "{{ messages }}");
  await writeFile(join(model, "special_tokens_map.json"), "{}");
  await writeFile(join(model, "notes.txt"), "no side file of a model");
});
afterAll(() => rm(scratch, { recursive: true }));

async function tensorsOf(folder: string) {
  const checkpoint = await openCheckpoint(folder);
  const values = new Map<string, { dtype: string; data: Float32Array }>();
  for (const { name, shape, dtype } of checkpoint.tensors.values()) {
    const data = new Float32Array(shape.reduce((product, size) => product * size, 1));
    await checkpoint.readFloat32Into(name, data);
    values.set(name, { dtype, data });
  }
  await checkpoint.close();
  return values;
}

it("gives all weights the type asked for, in files of a size, with every side file", async () => {
  const [full, half] = [join(scratch, "full"), join(scratch, "half")];
  await merge({ model, adapter, out: full });
  await merge({ model, adapter, dtype: "bfloat16", maxShardBytes: 20_000, out: half });
  const [own, rounded] = [await tensorsOf(full), await tensorsOf(half)];
  expect([...rounded.keys()].sort()).toEqual([...own.keys()].sort());
  for (const [name, { dtype, data }] of rounded) {
    expect(dtype).toBe("BF16");
    const exact = own.get(name)!.data;
    for (let i = 0; i < data.length; i++)
      expect(Math.abs(data[i]! - exact[i]!)).toBeLessThanOrEqual(Math.abs(exact[i]!) / 256);
  }
  const files = await readdir(half);
  expect(files.filter((name) => name.endsWith(".safetensors")).length).toBeGreaterThan(1);
  const json = async (name: string) => JSON.parse(await readFile(join(half, name), "utf8"));
  expect((await json("config.json")).dtype).toBe("bfloat16");
  const index = await json("model.safetensors.index.json");
  expect(Object.keys(index.weight_map).length).toBe(own.size);
  const beside = (names: readonly string[]) =>
    names.filter((name) => !name.startsWith("model") && name !== "notes.txt").sort();
  expect(beside(files)).toEqual(beside(await readdir(model)));
});

it("leaves config.json's numbers as they are spelled: Transformers tells 0.0 from 0", async () => {
  const mixtral = join(cases, "architectures/mixtral/model");
  const out = join(scratch, "mixtral");
  await merge({ model: mixtral, adapter: join(cases, "architectures/mixtral-lora/adapter"), out });
  const config = (folder: string) => readFile(join(folder, "config.json"), "utf8");
  const text = await config(mixtral);
  expect(text).toContain('"router_jitter_noise": 0.0,');
  expect(await config(out)).toBe(text);
});

it("refuses types and sizes that there are not, and leaves nothing", async () => {
  const out = join(scratch, "refused");
  const wrong = { model, adapter, out, dtype: "q8_0" as "float16" };
  await expectFault(merge(wrong), /one of float32, float16, bfloat16[\s\S]*export/);
  await expectFault(merge({ model, adapter, out, maxShardBytes: 0 }), /above 0/);
  expect(await readdir(scratch)).not.toContain("refused");
});
