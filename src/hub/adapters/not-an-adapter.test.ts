import { cpSync, mkdirSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, it } from "vitest";
import { casePath } from "../testing/cases.ts";
import { expectFault, temporaryFile, temporaryFolder } from "../testing/files.ts";
import { readAdapter } from "./adapter.ts";
import { readFusedConfig } from "./adapter-setup.ts";
import { readExpertConfig } from "./expert-folders.ts";

const LORA = join(casePath("lora"), "all-linear", "adapter");

describe("what is named as an adapter and is none", () => {
  it("is a path that is not there", () =>
    expectFault(readAdapter("no/such/adapter"), /saw: no such folder[\s\S]*check the spelling/));

  it("is a file", () =>
    expectFault(readAdapter(temporaryFile("train.jsonl", "{}")), /the file "train\.jsonl"/));

  it("is a whole model, such as full fine-tuning leaves", async () => {
    const folder = temporaryFolder();
    writeFileSync(join(folder, "config.json"), "{}");
    await expectFault(readAdapter(folder), /a whole model[\s\S]*give this folder as the model/);
  });

  it("is a run's folder, which has one", async () => {
    const run = temporaryFolder();
    cpSync(LORA, join(run, "adapter"), { recursive: true });
    await expectFault(readAdapter(run), new RegExp(`fix: name ${join(run, "adapter")}$`));
  });

  it("is what a mixture or a fusion was to be made of", async () => {
    const folder = temporaryFolder();
    const run = async (read: (folder: string) => unknown) => read(folder);
    await expectFault(run(readExpertConfig), /saw: no adapter_config\.json/);
    await expectFault(run(readFusedConfig), /saw: no adapter_config\.json/);
  });
});

describe("an adapter with a part missing", () => {
  it("names the expert's folder beside the classifier", async () => {
    const folder = temporaryFolder();
    cpSync(join(casePath("xlora"), "softmax", "adapter"), folder, { recursive: true });
    rmSync(join(folder, "expert-1"), { recursive: true });
    await expectFault(readAdapter(folder), new RegExp(`${join(folder, "expert-1")}: `));
  });

  it("is told of a folder in the place of its weights", async () => {
    const folder = temporaryFolder();
    cpSync(LORA, folder, { recursive: true });
    const weights = join(folder, "adapter_model.safetensors");
    rmSync(weights);
    mkdirSync(weights);
    await expectFault(readAdapter(folder), /must be readable[\s\S]*EISDIR/);
  });
});
