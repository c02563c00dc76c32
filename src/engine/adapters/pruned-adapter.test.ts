import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, it } from "vitest";
import { readAdapter } from "../../hub/index.ts";
import { openTiny } from "../testing/tiny-models.ts";

const PRUNED = join(import.meta.dirname, "../../../tests/parity/cases/adalora/pruned/adapter");

let folder: string;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "tunesmith-pruned-"));
});
afterEach(() => rm(folder, { recursive: true }));

it("an adapter that PEFT pruned is written again as it was, empty tensors included", async () => {
  const model = await openTiny("base", { adapter: PRUNED });
  expect(model.schedule).toBeUndefined();
  await model.saveAdapter(folder);
  await model.dispose();
  const [theirs, ours] = [await readAdapter(PRUNED), await readAdapter(folder)];
  const targets = ({ config }: typeof ours) => [...(config.target_modules as string[])].sort();
  expect(targets(ours)).toEqual(targets(theirs));
  const from = { base_model_name_or_path: "", target_modules: [] };
  expect({ ...ours.config, ...from }).toEqual({ ...theirs.config, ...from });
  expect([...ours.tensors.keys()].sort()).toEqual([...theirs.tensors.keys()].sort());
  for (const [key, tensor] of ours.tensors) expect(tensor, key).toEqual(theirs.tensors.get(key));
  expect([...ours.tensors.values()].some(({ shape }) => shape[0] === 0)).toBe(true);
});

it("an adapter that was saved before training can be trained, by a plan of the next run", async () => {
  const fresh = await openTiny("base", { method: { name: "adalora", targets: ["q_proj"] } });
  await fresh.saveAdapter(folder);
  await fresh.dispose();
  const model = await openTiny("base", { adapter: folder });
  expect(() => model.schedule!.begin()).toThrow(/known number of steps/);
  model.schedule!.begin(10);
  const plan = model.schedule!.state.find(({ name }) => name === "adalora.plan")!;
  expect([...plan.data]).toEqual([10, 1, 3]);
  await model.dispose();
});

it.each([
  [{ initialRank: 4, targetRank: 5 }, /targetRank 5, and initialRank 4/],
  [
    { rankPattern: { "model.layers.0.self_attn.q_proj.lora_E": [true] } },
    /12 ranks[\s\S]*1 values/,
  ],
])("ranks that do not fit are refused: %o", async (options, message) => {
  await expect(openTiny("base", { method: { name: "adalora", ...options } })).rejects.toThrow(
    message,
  );
});
