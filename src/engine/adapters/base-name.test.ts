// When an adapter's base counts as another one.

import { describe, expect, it } from "vitest";
import { openTiny, tinyModelFolder } from "../testing/tiny-models.ts";
import { otherBaseWarning } from "./base-name.ts";

const warning = (wanted: unknown, source: string, config = {}) =>
  otherBaseWarning(
    { config: { base_model_name_or_path: wanted }, folder: "./mine" },
    { config, source },
  );

const COMMIT = "0123456789abcdef0123456789abcdef01234567";

describe("the base that an adapter names", () => {
  it.each([
    ["owner/SmolLM2-135M", "./models/smollm2-135m/"],
    ["/home/a/SmolLM2-135M", "C:\\models\\SmolLM2-135M"],
    ["owner/SmolLM2-135M", `/cache/models--owner--SmolLM2-135M/snapshots/${COMMIT}`],
    ["owner/SmolLM2-135M", "SmolLM2-135M.Q4_K_M.gguf"],
    ["owner/SmolLM2-135M", `/cache/models--owner--any/snapshots/${COMMIT}/SmolLM2-135M-f16.gguf`],
    [null, "./base"],
    ["", "./base"],
  ])("%j is the model %j", (wanted, source) => {
    expect(warning(wanted, source)).toBeUndefined();
  });

  it("may be the name that a checkpoint gives itself", () => {
    expect(warning("owner/tiny", "./base", { _name_or_path: "other/Tiny" })).toBeUndefined();
  });

  it.each([
    ["owner/SmolLM2-135M", "owner/SmolLM2-135M-Instruct"],
    ["SmolLM2-135M", "SmolLM2-360M.Q4_K_M.gguf"],
  ])("%j is not the model %j", (wanted, source) => {
    const text = warning(wanted, source)!;
    expect(text).toContain(`./mine was trained on ${wanted} and is put on ${source}`);
    expect(text).not.toContain("\n");
  });

  it("is looked for where AdapterHub's files have it", () => {
    const base = { config: {}, source: "./tiny" };
    const told = (config: Record<string, unknown>) =>
      otherBaseWarning({ config, folder: "./mine" }, base);
    expect(told({ model_name: "owner/large", config: {} })).toContain("owner/large");
    expect(told({ adapter_setup: {}, fusion: { model_name: "owner/large" } })).toContain("large");
  });
});

it("a model that is opened with another base's adapter says so once, and computes with it", async () => {
  const adapter = `${import.meta.dirname}/../../../tests/parity/cases/lora/q-v/adapter`;
  const warnings: string[] = [];
  const onWarning = (text: string) => warnings.push(text);
  const model = await openTiny("base", { adapter, onWarning });
  await model.dispose();
  expect(warnings).toEqual([expect.stringContaining(`is put on ${tinyModelFolder("base")}`)]);
  expect(warnings[0]).toContain("trained on tiny-llama");
});
