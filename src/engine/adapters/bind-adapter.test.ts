// What PEFT has in an adapter's file beyond the adapter.

import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect, it } from "vitest";
import { readAdapterTensors, writeAdapterTensors } from "../../hub/adapters/adapter-tensors.ts";
import { temporaryFolder } from "../../hub/testing/files.ts";
import type { MethodOptions } from "../../methods/index.ts";
import { openTiny } from "../testing/tiny-models.ts";

const NORM = "base_model.model.gpt_neox.final_layer_norm";

it("biases of whole modules, which PEFT repeats with bias: all, are passed over", async () => {
  const folder = temporaryFolder();
  const method = { name: "lora", targets: ["dense"], bias: "all" } as const;
  const options = { method: { ...method, modulesToSave: ["final_layer_norm"] } } as const;
  const model = await openTiny("gpt-neox", options);
  await model.saveAdapter(folder);
  await model.dispose();
  const file = join(folder, "adapter_model.safetensors");
  const tensors = await readAdapterTensors(file);
  const bias = tensors.get(`${NORM}.bias`)!;
  const repeated = ["original_module", "modules_to_save"].map(
    (wrapped) => [`${NORM}.${wrapped}.bias`, bias] as const,
  );
  await writeAdapterTensors(file, new Map([...tensors, ...repeated]));
  const again = await openTiny("gpt-neox", { adapter: folder });
  expect(again.parameters.map(({ name }) => name).sort()).toEqual([...tensors.keys()].sort());
  await again.dispose();

  await writeAdapterTensors(file, new Map([...tensors, [`${NORM}.gain`, bias]]));
  await expect(openTiny("gpt-neox", { adapter: folder })).rejects.toThrow(
    /norm\.gain.*has a place/,
  );
});

it.each<[MethodOptions, object]>([
  [
    { name: "lora", targets: ["q_proj", "v_proj"] },
    { target_modules: ["query_key_value", "q_proj", "v_proj"] },
  ],
  [
    { name: "ia3" },
    {
      target_modules: ["k_proj", "v_proj", "down_proj", "fc2"],
      feedforward_modules: ["fc2", "down_proj"],
    },
  ],
  [{ name: "ln-tuning", targets: ["norm"] }, { target_modules: ["ln_f", "norm"] }],
])(
  "names of other architectures among a file's targets are passed over: $0.name",
  async (method, named) => {
    const folder = temporaryFolder();
    const model = await openTiny("base", { method });
    await model.saveAdapter(folder);
    const wanted = model.parameters.map(({ name }) => name);
    await model.dispose();
    const file = join(folder, "adapter_config.json");
    const config = JSON.parse(readFileSync(file, "utf8"));
    writeFileSync(file, JSON.stringify({ ...config, ...named }));
    const again = await openTiny("base", { adapter: folder });
    expect(again.parameters.map(({ name }) => name)).toEqual(wanted);
    await again.dispose();

    writeFileSync(file, JSON.stringify({ ...config, target_modules: ["ln_f"] }));
    await expect(openTiny("base", { adapter: folder })).rejects.toThrow(/"ln_f" matches no/);
  },
);
