// Models written for ONNX Runtime and run by it, as transformers.js would: the logits of our own forward
// pass, in one piece and piece by piece, alone and among rows that are padded.

import { existsSync } from "node:fs";
import { mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import * as ort from "onnxruntime-node";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { type EngineModel, type OpenOptions, openModel } from "../engine/load.ts";
import { placed } from "../engine/onnx-export/external-data.ts";
import type { OnnxDtype } from "../engine/onnx-export/write-onnx.ts";
import { ARCHITECTURES } from "../engine/testing/contract-subjects.ts";
import {
  randomRows,
  type TinyModel,
  tinyModelFolder,
  VOCABULARY,
} from "../engine/testing/tiny-models.ts";
import { generate } from "../generate/index.ts";
import { dequantize, openCheckpoint, quantize, writeShardedSafetensors } from "../hub/index.ts";
import { expectFault } from "../hub/testing/files.ts";
import { arrayDifference } from "../runtime/testing/array-difference.ts";
import { sizeOf } from "../tensor/index.ts";
import { exportModel } from "./export.ts";
import { writeTinyModel } from "./testing/tiny-model.ts";

const ADAPTER = join(import.meta.dirname, "../../tests/parity/cases/lora/all-linear/adapter");

let scratch: string;
beforeAll(async () => {
  scratch = await mkdtemp(join(tmpdir(), "tunesmith-onnx-"));
});
afterAll(() => rm(scratch, { recursive: true }));

let count = 0;
async function tiny(name: TinyModel): Promise<string> {
  const folder = join(scratch, `${++count}`);
  await writeTinyModel(folder, tinyModelFolder(name));
  return folder;
}

async function exported(model: string, dtype: OnnxDtype | OnnxDtype[], adapter?: string) {
  const out = join(scratch, `${++count}`);
  await exportModel({ model, adapter, format: "onnx", dtype, out });
  return out;
}

type Cache = Record<string, ort.Tensor>;

/** The graph of a folder, run as transformers.js runs it. */
async function opened(folder: string, file = "model.onnx") {
  const session = await ort.InferenceSession.create(join(folder, "onnx", file), {
    intraOpNumThreads: 1,
  });
  const int64 = (rows: readonly (readonly number[])[]) =>
    new ort.Tensor("int64", BigInt64Array.from(rows.flat(), BigInt), [
      rows.length,
      rows[0]!.length,
    ]);
  const emptyCache = (batch: number): Cache =>
    Object.fromEntries(
      session.inputMetadata.flatMap(({ name, ...meta }) => {
        if (!name.startsWith("past_key_values.") || !("shape" in meta)) return [];
        const shape = meta.shape.map((length, axis) => [batch, length, 0, length][axis] as number);
        return [[name, new ort.Tensor("float32", new Float32Array(0), shape)]];
      }),
    );
  return {
    session,
    async run(ids: readonly number[][], mask: readonly number[][], cache = emptyCache(ids.length)) {
      const positions = mask.map((row) => {
        let seen = 0;
        const all = row.map((bit) => (bit === 0 ? 1 : seen++));
        return all.slice(row.length - ids[0]!.length);
      });
      const feeds = {
        input_ids: int64(ids),
        attention_mask: int64(mask),
        ...(session.inputNames.includes("position_ids") && { position_ids: int64(positions) }),
        ...cache,
      };
      const { logits, ...present } = await session.run(feeds);
      const next = Object.entries(present).map(([name, value]) => [
        name.replace("present", "past_key_values"),
        value,
      ]);
      return {
        logits: logits!.data as Float32Array,
        cache: Object.fromEntries(next) as Cache,
      };
    },
  };
}

async function withModel<Result>(
  model: string,
  options: OpenOptions,
  use: (engine: EngineModel) => Promise<Result>,
): Promise<Result> {
  const engine = await openModel(model, { threads: 1, ...options });
  try {
    return await use(engine);
  } finally {
    await engine.dispose();
  }
}

const ours = (model: string, inputIds: number[][], options: OpenOptions = {}) =>
  withModel(model, options, async (engine) => (await engine.forward({ inputIds })).logits.data);

/** Rewrites the model's weights as rows of whole numbers would have them. */
async function roundRows(folder: string): Promise<void> {
  const checkpoint = await openCheckpoint(folder);
  const tensors = [];
  for (const { name, shape } of checkpoint.tensors.values()) {
    const data = new Float32Array(sizeOf(shape));
    await checkpoint.readFloat32Into(name, data);
    if (shape.length === 2) dequantize(quantize(data, shape, { type: "int8" }), data);
    tensors.push({ name, shape, dtype: "F32" as const, data: () => data });
  }
  await checkpoint.close();
  await writeShardedSafetensors(folder, tensors, {});
}

const largestAt = (values: Float32Array) =>
  values.reduce((best, value, i) => (value > values[best]! ? i : best), 0);

const ones = (rows: readonly number[][], length = rows[0]!.length) =>
  rows.map(() => new Array<number>(length).fill(1));

const REFUSED: Partial<Record<TinyModel, RegExp>> = {
  "glm-130b": /fills blanks/,
  idefics3: /looks at images/,
  smolvlm: /looks at images/,
};
const ALL = Object.values(ARCHITECTURES).flat();

it.each(Object.entries(REFUSED) as [TinyModel, RegExp][])("refuses %s", async (name, seen) => {
  const model = await tiny(name);
  const out = join(scratch, "refused");
  await expectFault(exportModel({ model, format: "onnx", out }), seen);
  expect(existsSync(out)).toBe(false);
});

describe.each(ALL.filter((name) => !REFUSED[name]))("%s", (name) => {
  it("gives our logits: whole, in pieces, and beside a padded row", async () => {
    const model = await tiny(name);
    const rows = randomRows([7, 7]);
    const expected = await ours(model, rows);
    const { run, session } = await opened(await exported(model, "f32"));

    const whole = await run(rows, ones(rows));
    expect(arrayDifference(whole.logits, expected)).toBeLessThan(1e-5);

    const start = rows.map((row) => row.slice(0, 4));
    const first = await run(start, ones(start));
    const rest = rows.map((row) => row.slice(4));
    const second = await run(rest, ones(rest, 7), first.cache);
    const ofRow = (data: Float32Array, row: number, length: number, from: number) =>
      data.subarray((row * length + from) * VOCABULARY, (row + 1) * length * VOCABULARY);
    for (const row of [0, 1])
      expect(
        arrayDifference(ofRow(second.logits, row, 3, 0), ofRow(expected, row, 7, 4)),
      ).toBeLessThan(1e-5);

    const padded = [rows[0]!, [0, 0, ...rows[1]!.slice(0, 5)]];
    const mask = [new Array<number>(7).fill(1), [0, 0, 1, 1, 1, 1, 1]];
    const beside = await run(padded, mask);
    const alone = await ours(model, [rows[1]!.slice(0, 5)]);
    expect(arrayDifference(ofRow(beside.logits, 1, 7, 2), alone)).toBeLessThan(1e-5);

    const wanted = { inputIds: rows, maxNewTokens: 8, ignoreEos: true };
    const { tokenIds } = await withModel(model, {}, (engine) => generate(engine, wanted));
    const continued: number[][] = [[], []];
    let { logits, cache } = whole;
    for (let length = 8; ; length++) {
      const next = continued.map((_, row) => {
        const end = ((row + 1) * logits.length) / 2;
        return [largestAt(logits.subarray(end - VOCABULARY, end))];
      });
      continued.forEach((row, i) => void row.push(...next[i]!));
      if (continued[0]!.length === wanted.maxNewTokens) break;
      ({ logits, cache } = await run(next, ones(next, length), cache));
    }
    expect(continued).toEqual(tokenIds);
    await session.release();
  });
});

it("q8 has rows in whole numbers, and products in float32", async () => {
  const model = await tiny("untied-head");
  const rows = randomRows([6, 6]);
  const { run, session } = await opened(await exported(model, "q8"), "model_quantized.onnx");
  const { logits } = await run(rows, ones(rows));
  await session.release();
  expect(arrayDifference(logits, await ours(model, rows))).toBeGreaterThan(1e-4);
  await roundRows(model);
  expect(arrayDifference(logits, await ours(model, rows))).toBeLessThan(1e-5);
});

it.each([
  ["q4", "model_q4.onnx", { dtype: "q4" }, 2e-3],
  ["f16", "model_fp16.onnx", {}, 5e-3],
  ["q4f16", "model_q4f16.onnx", { dtype: "q4" }, 5e-2],
] as const)("%s gives what the model gives in it", async (dtype, file, options, tolerance) => {
  const model = await tiny("base");
  const rows = randomRows([6, 6]);
  const { run, session } = await opened(await exported(model, dtype), file);
  const { logits } = await run(rows, ones(rows));
  expect(arrayDifference(logits, await ours(model, rows, options))).toBeLessThan(tolerance);
  await session.release();
});

it("holds an adapter, and everything that transformers.js reads", async () => {
  const model = await tiny("base");
  const rows = randomRows([5]);
  const folder = await exported(model, ["q4", "f32"], ADAPTER);
  const { run, session } = await opened(folder);
  const { logits } = await run(rows, ones(rows));
  expect(arrayDifference(logits, await ours(model, rows, { adapter: ADAPTER }))).toBeLessThan(1e-5);
  await session.release();
  const config = JSON.parse(await readFile(join(folder, "config.json"), "utf8"));
  expect(config["transformers.js_config"]).toEqual({
    dtype: "q4",
    use_external_data_format: { "model.onnx": 1, "model_q4.onnx": 1 },
  });
  expect((await readdir(join(folder, "onnx"))).sort()).toEqual([
    "model.onnx",
    "model.onnx_data",
    "model_q4.onnx",
    "model_q4.onnx_data",
  ]);
  expect(await readdir(folder)).toEqual(
    expect.arrayContaining(["generation_config.json", "tokenizer.json", "tokenizer_config.json"]),
  );
});

it("puts the chat template where transformers.js looks for it", async () => {
  const model = await tiny("base");
  const settings = JSON.parse(await readFile(join(model, "tokenizer_config.json"), "utf8"));
  const { chat_template: template, ...rest } = settings;
  await writeFile(join(model, "tokenizer_config.json"), JSON.stringify(rest));
  await writeFile(join(model, "chat_template.jinja"), template);
  const folder = await exported(model, "q4");
  const written = JSON.parse(await readFile(join(folder, "tokenizer_config.json"), "utf8"));
  expect(written).toEqual(settings);
});

it("runs with its weights in several files", async () => {
  const model = await tiny("base");
  const out = join(scratch, "sharded");
  await exportModel({ model, format: "onnx", dtype: "f32", maxShardBytes: 30_000, out });
  const files = (await readdir(join(out, "onnx"))).filter((file) => file.includes("_data"));
  expect(files.length).toBeGreaterThan(2);
  const config = JSON.parse(await readFile(join(out, "config.json"), "utf8"));
  const dataFiles = { "model.onnx": files.length };
  expect(config["transformers.js_config"].use_external_data_format).toEqual(dataFiles);
  const rows = randomRows([5]);
  const { run, session } = await opened(out);
  const { logits } = await run(rows, ones(rows));
  await session.release();
  expect(arrayDifference(logits, await ours(model, rows))).toBeLessThan(1e-5);
});

it("splits weights over files that browsers take", () => {
  const weight = (name: string, length: number) =>
    ({ name, type: "float32", shape: [length] }) as const;
  const places = placed([weight("a", 10), weight("b", 30), weight("c", 5)], "model.onnx", 130);
  expect(places.map(({ place }) => place)).toEqual([
    { file: "model.onnx_data", offset: 0, length: 40 },
    { file: "model.onnx_data_1", offset: 0, length: 120 },
    { file: "model.onnx_data_2", offset: 0, length: 20 },
  ]);
});

it("refuses types that there are not, and folders that hold something", async () => {
  const model = await tiny("base");
  const wrong = { model, format: "onnx", out: join(scratch, "no") } as const;
  await expectFault(
    exportModel({ ...wrong, dtype: "q4_k" as OnnxDtype }),
    /one of f32, f16, q8, q4, q4f16[\s\S]*q4_k/,
  );
  await expectFault(exportModel({ model, out: wrong.out, format: "gif" as "gguf" }), /gguf, onnx/);
  await expectFault(
    exportModel({ ...wrong, dtype: "q4", maxShardBytes: 0 }),
    /bytes above 0[\s\S]*leave it out/,
  );
  await writeFile(join(model, "more"), "");
  await expectFault(exportModel({ ...wrong, out: model }), /exported model/);
});
