// What PEFT has in an adapter's file beyond the adapter.

import { join } from "node:path";
import { expect, it } from "vitest";
import { readAdapterTensors, writeAdapterTensors } from "../../hub/adapters/adapter-tensors.ts";
import { temporaryFolder } from "../../hub/testing/files.ts";
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
