import { copyFileSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { writeSafetensors } from "../safetensors/safetensors-writer.ts";
import { casePath } from "../testing/cases.ts";
import { expectFault, temporaryFolder } from "../testing/files.ts";
import { readAdapter, withoutAdapterName, writeAdapter } from "./adapter.ts";
import { pythonJson, readPeftConfig } from "./peft-config.ts";

const adapters = readdirSync(casePath("lora"), { recursive: true, encoding: "utf8" })
  .filter((file) => file.endsWith("adapter_config.json"))
  .map((file) => join(casePath("lora"), file, ".."));

describe("adapters that PEFT saved", () => {
  it("are among the stored cases", () => expect(adapters.length).toBeGreaterThan(5));

  it.each(adapters)("are read and written back as they were: %s", async (folder) => {
    const adapter = await readAdapter(folder);
    expect(adapter.tensors.size).toBeGreaterThan(0);
    const copy = temporaryFolder();
    await writeAdapter(copy, adapter);
    const config = (from: string) => readFileSync(join(from, "adapter_config.json"), "utf8");
    expect(config(copy)).toBe(config(folder));
    const again = await readAdapter(copy);
    expect(again).toEqual(adapter);
  });
});

describe("adapters that AdapterHub's library saved", () => {
  const folders = ["double-seq-bn", "unipelt", "fusion-static"].map((name) =>
    join(casePath("adapterhub"), name, "adapter"),
  );

  it.each(folders)("are read and written back as they were: %s", async (folder) => {
    const adapter = await readAdapter(folder);
    expect(adapter.tensors.size).toBeGreaterThan(0);
    const copy = temporaryFolder();
    await writeAdapter(copy, adapter);
    const files = (from: string) =>
      readdirSync(from, { recursive: true, encoding: "utf8" }).filter((file) => /\./.test(file));
    expect(files(copy).sort()).toEqual(files(folder).sort());
    for (const file of files(copy).filter((name) => name.endsWith("adapter_config.json")))
      expect(readFileSync(join(copy, file), "utf8")).toBe(readFileSync(join(folder, file), "utf8"));
    expect(await readAdapter(copy)).toEqual(adapter);
  });

  it("are refused as a pickle, with the name that they should have", async () => {
    const folder = temporaryFolder();
    copyFileSync(join(folders[0]!, "adapter_config.json"), join(folder, "adapter_config.json"));
    await expectFault(readAdapter(folder), /holds adapter\.safetensors/);
    writeFileSync(join(folder, "pytorch_adapter.bin"), "");
    await expectFault(
      readAdapter(folder),
      /never opened[\s\S]*v\.clone\(\)[\s\S]*"pytorch_adapter\.bin"[\s\S]*"adapter\.safetensors"/,
    );
  });

  it("are refused as a setup that is no fusion", async () => {
    const folder = temporaryFolder();
    const setup = { adapter_setup: { type: "Stack", children: [] } };
    writeFileSync(join(folder, "adapter_setup.json"), JSON.stringify(setup));
    await expectFault(readAdapter(folder), /a fusion of adapters \(Fuse\)[\s\S]*Stack/);
  });
});

describe("adapter_config.json", () => {
  it("is written as Python writes JSON", () => {
    expect(pythonJson({ b: [1, "é"], a: {}, lora_dropout: 0, c: [], d: { y: null, x: 0.5 } })).toBe(
      '{\n  "a": {},\n  "b": [\n    1,\n    "\\u00e9"\n  ],\n  "c": [],\n' +
        '  "d": {\n    "x": 0.5,\n    "y": null\n  },\n  "lora_dropout": 0.0\n}',
    );
  });

  it("is asked for where it is missing", async () => {
    await expectFault(readPeftConfig(temporaryFolder()), /adapter_config\.json/);
  });
});

describe("adapter weights", () => {
  it("lose the adapter's name where a file still has it", async () => {
    expect(withoutAdapterName("a.lora_A.default.weight", "default")).toBe("a.lora_A.weight");
    expect(withoutAdapterName("a.ia3_l.default", "default")).toBe("a.ia3_l");
    expect(withoutAdapterName("a.default.b.weight", "default")).toBe("a.default.b.weight");
    expect(withoutAdapterName("a.lora_A.weight", "default")).toBe("a.lora_A.weight");
    const folder = temporaryFolder();
    await writeAdapter(folder, { config: { peft_type: "LORA" }, tensors: new Map() });
    await writeSafetensors(join(folder, "adapter_model.safetensors"), [
      { name: "m.lora_A.mine.weight", dtype: "BF16", shape: [1], data: Float32Array.of(2) },
    ]);
    const { tensors } = await readAdapter(folder, "mine");
    expect([...tensors]).toEqual([["m.lora_A.weight", { shape: [1], data: Float32Array.of(2) }]]);
  });

  it("are refused as a pickle, and where they are missing", async () => {
    const folder = temporaryFolder();
    copyFileSync(join(adapters[0]!, "adapter_config.json"), join(folder, "adapter_config.json"));
    await expectFault(readAdapter(folder), /holds adapter_model\.safetensors/);
    writeFileSync(join(folder, "adapter_model.bin"), "boom");
    await expectFault(readAdapter(folder), /never opened[\s\S]*weights_only=True/);
  });
});

describe("the encoder of an adapter", () => {
  it("is a file of its own, which goes when the next adapter has none", async () => {
    const folder = temporaryFolder();
    const tensors = new Map([["prompt_embeddings", { shape: [1], data: Float32Array.of(2) }]]);
    const encoder = new Map([["embedding.weight", { shape: [1], data: Float32Array.of(3) }]]);
    const config = { peft_type: "P_TUNING" };
    await writeAdapter(folder, { config, tensors, encoder });
    expect((await readAdapter(folder)).encoder).toEqual(encoder);
    expect((await readAdapter(folder)).tensors).toEqual(tensors);
    await writeAdapter(folder, { config, tensors });
    expect((await readAdapter(folder)).encoder).toBeUndefined();
  });
});
