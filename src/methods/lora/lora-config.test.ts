import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { pythonJson } from "../../hub/adapters/peft-config.ts";
import { methodOfAdapter } from "../registry.ts";
import { loraConfig, loraConfigSchema } from "./lora-config.ts";

const CASES = join(import.meta.dirname, "../../../tests/parity/cases/lora");
const files = readdirSync(CASES, { recursive: true, encoding: "utf8" }).filter((file) =>
  file.endsWith("adapter_config.json"),
);

describe("adapter_config.json of a LoRA", () => {
  it.each(files)("of PEFT has the keys that we write, and no others: %s", (file) => {
    const text = readFileSync(join(CASES, file), "utf8");
    const config = JSON.parse(text);
    expect(Object.keys(config).sort()).toEqual(Object.keys(loraConfigSchema.shape).sort());
    expect(pythonJson({ ...loraConfig(config), inference_mode: true })).toBe(text);
  });

  it("has PEFT's defaults for what is missing and drops what nobody knows", () => {
    const config = loraConfig({ r: 4, of_the_future: 1 } as never);
    expect(config).toEqual(loraConfig({ r: 4 }));
    expect(config).toMatchObject({ lora_alpha: 8, lora_dropout: 0, bias: "none" });
  });

  it.each([
    ["another kind", { peft_type: "NOTHING" }, /"NOTHING"/],
    ["no kind", { r: 8 }, /no peft_type/],
    ["a rank of zero", { peft_type: "LORA", r: 0 }, /\(r\)/],
    [
      "several faults at once",
      { peft_type: "LORA", r: "8", bias: "some" },
      /\(bias\)[\s\S]*\(r\)|\(r\)[\s\S]*\(bias\)/,
    ],
  ])("with %s is refused", (_, config, pattern) => {
    expect(() => methodOfAdapter({ config }, "adapter")).toThrow(pattern);
  });
});
