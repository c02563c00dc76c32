// Quantised bases: what is kept how, what is refused, what a second start finds on disk.

import { cp, mkdtemp, readdir, readFile, rm, truncate, utimes, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import {
  type Checkpoint,
  dequantize,
  openCheckpoint,
  type QuantizationOptions,
  quantize,
} from "../../hub/index.ts";
import { casePath } from "../../hub/testing/cases.ts";
import { architectureFor } from "../../models/index.ts";
import { arrayDifference } from "../../runtime/testing/array-difference.ts";
import { sizeOf } from "../../tensor/index.ts";
import { type OpenOptions, openModel } from "../load.ts";
import { differentiate, openTiny, randomRows, tinyModelFolder } from "../testing/tiny-models.ts";
import { loadQuantized } from "./quantized-weights.ts";

const QUANTIZED = casePath("qlora", "nf4-double", "model");
const UP = "model.layers.0.mlp.up_proj.weight";
const EMBEDDING = "model.embed_tokens.weight";
const inputIds = randomRows([9], 4);

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "tunesmith-quantized-"));
});
afterAll(() => rm(folder, { recursive: true }));

describe("a model that is quantised on the way in", () => {
  const small: QuantizationOptions = { type: "fp4", doubleQuantization: false, blockSize: 32 };

  it("keeps its linear weights as quantising leaves them, and nothing else", async () => {
    const [base, model] = [await openTiny("base"), await openTiny("base", { quantization: small })];
    const { shape } = model.architecture.weights.find(({ name }) => name === UP)!;
    const expected = new Float32Array(sizeOf(shape));
    dequantize(quantize(base.weights.copy(UP), shape, small), expected);
    expect(model.weights.copy(UP)).toEqual(expected);
    expect(model.weights.copy(EMBEDDING)).toEqual(base.weights.copy(EMBEDDING));
    for (const { name, role } of model.architecture.weights)
      expect(model.weights.quantized(name) !== undefined, name).toBe(role === "linear");
    await base.dispose();
    await model.dispose();
  });

  it("takes at most 0.6 bytes a linear weight", async () => {
    const model = await openTiny("base", { method: { name: "qlora" } });
    const count = (isLinear: boolean) =>
      model.architecture.weights
        .filter(({ role }) => (role === "linear") === isLinear)
        .reduce((sum, { shape }) => sum + sizeOf(shape), 0);
    expect(model.weights.bytes - 4 * count(false)).toBeLessThan(0.6 * count(true));
    await model.dispose();
  });

  it("is NF4 with double quantisation for QLoRA, or what is asked for", async () => {
    const stored = async (options: OpenOptions) => {
      const model = await openTiny("base", { method: { name: "qlora" }, ...options });
      await model.dispose();
      return model.weights.quantized(UP)!;
    };
    const usual = await stored({});
    expect(usual).toMatchObject({ type: "nf4", blockSize: 64 });
    expect(usual.scales).not.toBeInstanceOf(Float32Array);
    expect(await stored({ quantization: { type: "int8" } })).toMatchObject({ type: "int8" });
    const plain = await stored({ quantization: { doubleQuantization: false } });
    expect(plain.scales).toBeInstanceOf(Float32Array);
  });

  it("is trained by other adapters too, and answers", async () => {
    const model = await openTiny("base", { method: { name: "ia3" }, quantization: small });
    const { gradients } = await differentiate(model, [{ inputIds, labels: inputIds }]);
    expect([...gradients.values()].every((values) => values.some((value) => value !== 0))).toBe(
      true,
    );
    await model.dispose();
  });

  it.each<[string, OpenOptions, RegExp]>([
    ["full tuning", { method: { name: "full" } }, /it trains model\.layers\.0\S+ and \d+ more/],
    [
      "a linear module trained in full",
      { method: { name: "lora", targets: ["q_proj"], modulesToSave: ["up_proj"] } },
      /quantised weights are frozen[\s\S]*up_proj/,
    ],
    ["an init out of the base", { method: { name: "lora", init: "pissa" } }, /unquantised/],
    ["a strange block", { quantization: { type: "nf4", blockSize: 48 } }, /32, 64, 128/],
    ["a strange type", { quantization: { type: "nf3" as "nf4" } }, /one of nf4, fp4, int8/],
  ])("refuses %s", async (_, options, message) => {
    await expect(openTiny("base", { quantization: { type: "nf4" }, ...options })).rejects.toThrow(
      message,
    );
  });
});

describe("a checkpoint that bitsandbytes quantised", () => {
  const open = (options: OpenOptions = {}, path = QUANTIZED) =>
    openModel(path, { threads: 1, ...options });

  it("stays quantised, or is widened, to the same numbers", async () => {
    const [small, wide] = [await open(), await open({ dtype: "float32" })];
    expect(small.weights.quantized(UP)?.type).toBe("nf4");
    expect(wide.weights.quantized(UP)).toBeUndefined();
    expect(small.weights.bytes).toBeLessThan(0.4 * wide.weights.bytes);
    expect(await small.forward({ inputIds })).toEqual(await wide.forward({ inputIds }));
    await small.dispose();
    await wide.dispose();
  });

  it("is a base of lora and qlora alike, whatever qlora's usual type", async () => {
    for (const name of ["lora", "qlora"] as const) {
      const model = await open({ method: { name } }, casePath("qlora", "int8", "model"));
      expect(model.weights.quantized(UP)?.type).toBe("int8");
      await model.dispose();
    }
  });

  it("is merged unquantised, and says what quantising again would lose", async () => {
    const model = await open({ adapter: join(QUANTIZED, "../adapter") });
    const loss = await model.merge(join(folder, "merged"));
    expect(loss?.type).toBe("nf4");
    expect(loss!.error).toBeGreaterThan(0.05);
    expect(loss!.error).toBeLessThan(0.15);
    expect(loss!.change).toBeGreaterThan(0);
    const { logits } = await model.forward({ inputIds });
    await model.dispose();
    const merged = await open({}, join(folder, "merged"));
    expect(merged.config).not.toHaveProperty("quantization_config");
    expect(
      arrayDifference((await merged.forward({ inputIds })).logits.data, logits.data),
    ).toBeLessThan(1e-5);
    await merged.dispose();
  });

  it.each<[string, OpenOptions, RegExp]>([
    ["another type", { quantization: { type: "int8" } }, /int8 is asked for; \S+ has nf4/],
    ["full tuning", { method: { name: "full" } }, /quantised weights are frozen/],
  ])("refuses %s", async (_, options, message) => {
    await expect(open(options)).rejects.toThrow(message);
  });

  it("of another library is refused by its name", async () => {
    const other = join(folder, "hqq");
    await cp(tinyModelFolder("base"), other, { recursive: true });
    const config = JSON.parse(await readFile(join(other, "config.json"), "utf8"));
    config.quantization_config = { quant_method: "hqq", bits: 4 };
    await writeFile(join(other, "config.json"), JSON.stringify(config));
    await expect(open({}, other)).rejects.toThrow(/bitsandbytes[\s\S]*"hqq"/);
  });
});

describe("quantised weights on disk", () => {
  const options = { type: "nf4", doubleQuantization: true, blockSize: 64 } as const;
  let model: string;
  let cache: string;
  let checkpoint: Checkpoint;
  beforeAll(async () => {
    model = join(folder, "model");
    cache = join(folder, "cache");
    await cp(tinyModelFolder("base"), model, { recursive: true });
    checkpoint = await openCheckpoint(model);
  });
  afterAll(() => checkpoint.close());
  let read = 0;
  const load = (quantization: QuantizationOptions = options, at = cache) => {
    read = 0;
    const counted: Checkpoint = {
      ...checkpoint,
      readFloat32Into(name, target) {
        read++;
        return checkpoint.readFloat32Into(name, target);
      },
    };
    const specs = architectureFor(checkpoint.config, model).weights;
    return loadQuantized({
      checkpoint: counted,
      specs,
      dtype: "auto",
      quantization,
      cache: { folder: at, leastBytes: 0 },
    });
  };

  it("are what a second start reads, as they were", async () => {
    const made = await load();
    expect(read).toBe(made.size);
    expect(await load()).toEqual(made);
    expect(read).toBe(0);
  });

  it("are others for other options and for a model that has changed", async () => {
    await load({ ...options, blockSize: 32 });
    expect(read).toBeGreaterThan(0);
    await utimes(join(model, "model.safetensors"), new Date(0), new Date(0));
    await load();
    expect(read).toBeGreaterThan(0);
    expect(await readdir(cache)).toHaveLength(3);
  });

  it("are made again where the file is damaged, and not kept where the disk refuses", async () => {
    const made = await load();
    expect(read).toBe(0);
    for (const file of await readdir(cache)) await truncate(join(cache, file), 5000);
    expect(await load()).toEqual(made);
    expect(read).toBe(made.size);
    await load();
    expect(read).toBe(0);
    const noFolder = join(model, "config.json", "cache");
    expect(await load(options, noFolder)).toEqual(made);
  });
});
