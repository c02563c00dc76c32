// LoRA that starts as a part of its base ("olora", "pissa"), in a whole model: it starts out as the
// base, and what is saved fits the base as it was published.

import { mkdir, mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { readAdapter, writeAdapter } from "../../hub/index.ts";
import type { MethodOptions } from "../../methods/index.ts";
import { createRandom } from "../../runtime/random.ts";
import { arrayDifference } from "../../runtime/testing/array-difference.ts";
import { type EngineModel, openModel } from "../load.ts";
import {
  batchOf,
  openTiny,
  randomRows,
  type TinyModel,
  tinyModelFolder,
} from "../testing/tiny-models.ts";

const LORA_CASES = join(import.meta.dirname, "../../../tests/parity/cases/lora");
const QUERY = "model.layers.0.self_attn.q_proj.weight";
// The smallest vocabulary among the models is of 71.
const batch = batchOf(randomRows([9, 9]).map((row) => row.map((token) => token % 71)));

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "tunesmith-from-base-"));
});
afterAll(() => rm(folder, { recursive: true }));

const lora = (options: Omit<Extract<MethodOptions, { name: "lora" }>, "name">): MethodOptions => ({
  name: "lora",
  rank: 4,
  alpha: 6,
  ...options,
});

/** What `use` makes of a model that is disposed of afterwards. */
async function withModel<T>(
  opening: Promise<EngineModel>,
  use: (model: EngineModel) => Promise<T>,
): Promise<T> {
  const model = await opening;
  try {
    return await use(model);
  } finally {
    await model.dispose();
  }
}

const logitsOf = async (model: EngineModel) => (await model.forward(batch)).logits.data;

const logitsAt = (opening: Promise<EngineModel>) => withModel(opening, logitsOf);

/** Moves every parameter, as training does. */
function perturb({ parameters }: EngineModel): void {
  const random = createRandom(8);
  for (const { data } of parameters)
    for (let i = 0; i < data.length; i++) data[i]! += 0.05 * random.normal();
}

const VARIANTS: readonly (readonly [string, TinyModel, MethodOptions])[] = [
  ["olora", "base", lora({ init: "olora" })],
  ["pissa", "base", lora({ init: "pissa", targets: "all-linear" })],
  ["pissa_niter_4 with rslora", "base", lora({ init: "pissa_niter_4", rslora: true })],
  [
    "pissa with patterns, biases and a module trained in full",
    "biases",
    lora({
      init: "pissa",
      targets: "all-linear",
      rankPattern: { q_proj: 2 },
      alphaPattern: { "v_proj|up_proj": 3 },
      bias: "all",
      modulesToSave: ["lm_head"],
    }),
  ],
  [
    "pissa with lengths of rows, an embedding and single rows of the head",
    "untied-head",
    lora({
      init: "pissa",
      dora: true,
      targets: ["q_proj", "down_proj", "embed_tokens"],
      trainableTokens: { lm_head: [3, 40] },
    }),
  ],
  ["olora on a 16-bit base", "f16-weights", lora({ init: "olora" })],
];

describe.each(VARIANTS)("%s", (name, base, method) => {
  const open = () => openTiny(base, { method, seed: 3 });

  it("starts out as the base, of which it is a part", async () => {
    const expected = await logitsAt(openTiny(base));
    const published = await withModel(openTiny(base), async ({ weights }) => weights.copy(QUERY));
    await withModel(open(), async (model) => {
      expect(arrayDifference(await logitsOf(model), expected)).toBeLessThan(1e-5);
      expect(arrayDifference(model.weights.copy(QUERY), published)).toBeGreaterThan(0.1);
    });
  });

  it("saves what gives the same logits on the untouched base", async () => {
    const directory = join(folder, name, "adapter");
    const logits = await withModel(open(), async (model) => {
      perturb(model);
      await model.saveAdapter(directory);
      return logitsOf(model);
    });
    const untrained = await logitsAt(openTiny(base));
    const again = await logitsAt(openTiny(base, { adapter: directory }));
    expect(arrayDifference(logits, untrained)).toBeGreaterThan(1e-2);
    expect(arrayDifference(again, logits)).toBeLessThan(1e-5);
    const { config } = await readAdapter(directory);
    expect(config).toMatchObject({ r: 8, init_lora_weights: true });
  });

  it("merges to what it computes", async () => {
    const directory = join(folder, name, "merged");
    const logits = await withModel(open(), async (model) => {
      perturb(model);
      await model.merge(directory);
      return logitsOf(model);
    });
    // A 16-bit base is merged to 16 bits.
    const tolerance = base === "f16-weights" ? 2e-3 : 1e-5;
    const merged = await logitsAt(openModel(directory, { threads: 1 }));
    expect(arrayDifference(merged, logits)).toBeLessThan(tolerance);
  });

  it("finds the same base again when a run goes on, bit for bit", async () => {
    const [parameters, weights, logits] = await withModel(open(), async (model) => {
      const names = [...model.method!.takenFromBase!.keys()];
      const copies = names.map((each) => [each, model.weights.copy(each)] as const);
      perturb(model);
      const values = model.parameters.map(({ data }) => data.slice());
      return [values, copies, await logitsOf(model)] as const;
    });
    await withModel(open(), async (model) => {
      for (const [each, data] of weights) expect(model.weights.copy(each)).toEqual(data);
      model.parameters.forEach(({ data }, i) => {
        data.set(parameters[i]!);
      });
      expect(await logitsOf(model)).toEqual(logits);
    });
  });
});

it("pissa_niter_16 leaves at most 2 % more of a weight than the best of its rank", async () => {
  const settings = { rank: 4, alpha: 6, targets: ["q_proj", "v_proj", "down_proj"] };
  const left = (init: "pissa" | "pissa_niter_16") =>
    withModel(openTiny("base", { method: lora({ ...settings, init }) }), async (model) =>
      [...model.method!.takenFromBase!.keys()].map((name) =>
        Math.sqrt(model.weights.copy(name).reduce((sum, value) => sum + value * value, 0)),
      ),
    );
  const [best, sampled] = [await left("pissa"), await left("pissa_niter_16")];
  expect(best).toHaveLength(6);
  for (const [i, size] of sampled.entries()) {
    expect(size).toBeGreaterThan(0.999999 * best[i]!);
    expect(size).toBeLessThan(1.02 * best[i]!);
  }
});

it.each(["olora", "pissa"])(
  "an adapter that PEFT saved as %s is saved as PEFT converts it",
  async (init) => {
    const directory = join(folder, `${init} from PEFT`);
    const base = tinyModelFolder("base");
    const open = (adapter: string) => openModel(base, { adapter, threads: 1 });
    const trained = join(LORA_CASES, `${init}-as-trained/adapter`);
    const converted = join(LORA_CASES, `${init}-converted/adapter`);
    await withModel(open(trained), (model) => model.saveAdapter(directory));
    const [own, theirs] = [await readAdapter(directory), await readAdapter(converted)];
    expect(own.config).toMatchObject({ r: theirs.config.r, lora_alpha: theirs.config.lora_alpha });
    expect([...own.tensors.keys()].sort()).toEqual([...theirs.tensors.keys()].sort());
    const difference = arrayDifference(
      await logitsAt(open(directory)),
      await logitsAt(open(converted)),
    );
    expect(difference).toBeLessThan(1e-5);
  },
);

it("an adapter that chance took out of its base is refused", async () => {
  const { config, tensors } = await readAdapter(join(LORA_CASES, "pissa-as-trained/adapter"));
  const directory = join(folder, "sampled");
  await mkdir(directory);
  await writeAdapter(directory, {
    config: { ...config, init_lora_weights: "pissa_niter_16" },
    tensors,
  });
  await expect(openTiny("base", { adapter: directory })).rejects.toThrow(
    /"pissa_niter_16", which changes the base weights/,
  );
});
