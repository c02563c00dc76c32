// AdapterHub's methods: what presets stand for, options through the library's file, and what is refused.

import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { createRandom } from "../../runtime/random.ts";
import { input, type Tensor } from "../../tensor/index.ts";
import type { BoundMethod, MethodScope, ParameterSpec, SavedAdapter } from "../method.ts";
import { bindMethod, type MethodOptions, methodOfAdapter } from "../registry.ts";
import { describeModel, noVocabulary } from "../testing/description.ts";
import { bottleneckSettings, toBottleneckConfig } from "./bottleneck-options.ts";

const CASES = join(import.meta.dirname, "../../../tests/parity/cases/adapterhub");
const model = describeModel();
const bind = (options: MethodOptions) => bindMethod(options, model);
const savedConfig = ({ saved }: BoundMethod) => (saved as SavedAdapter).config;
const base = async (): Promise<Float32Array> => Promise.reject(new Error("read the base"));

describe("the library's files", () => {
  const single = readdirSync(CASES).filter((name) => !name.startsWith("fusion"));

  it.each(single)("are written as they were read: %s", (name) => {
    const text = readFileSync(join(CASES, name, "adapter/adapter_config.json"), "utf8");
    const config = JSON.parse(text);
    const options = methodOfAdapter({ config }, name);
    // Bound to a model of the same sizes as the case's, the file says the same again.
    const tiny = describeModel({
      hidden_size: 32,
      intermediate_size: 36,
      num_hidden_layers: 2,
      vocab_size: 97,
    });
    const ofBase = {
      model_class: "LlamaForCausalLM",
      model_name: "tiny-llama",
      model_type: "llama",
    };
    expect(savedConfig(bindMethod(options, tiny))).toEqual({ ...config, ...ofBase });
  });

  it("take the library's defaults where a key is missing", () => {
    const config = { config: { architecture: "lora" }, name: "x", version: "adapters.1.0.0" };
    expect(methodOfAdapter({ config }, "here")).toEqual({
      name: "unipelt",
      adapterName: "x",
      union: [
        {
          kind: "lora",
          rank: 8,
          alpha: 8,
          dropout: 0,
          leaveOut: [],
          init: "lora",
          gated: false,
          targets: ["q_proj", "v_proj"],
        },
      ],
    });
  });

  it.each([
    [{ architecture: "reft" }, 'saw: "reft"'],
    [{ architecture: "lora", use_dora: true }, "use_dora"],
    [{ architecture: "union", configs: [{ architecture: "prompt_tuning" }] }, "prompt_tuning"],
    [{ residual_before_ln: "post_add" }, "residual_before_ln"],
    [{ non_linearity: "mish" }, "non_linearity"],
    [{ inv_adapter: "glow" }, "inv_adapter"],
  ])("are refused for what is not implemented: %j", (config, message) => {
    const envelope = { config, name: "x", version: "adapters.1.3.0" };
    expect(() => methodOfAdapter({ config: envelope }, "here")).toThrow(message);
  });
});

it("tensors that the library's pickles have twice are taken once", () => {
  const { saved } = bind({
    name: "unipelt",
    union: [
      { kind: "prefix", length: 2, encoderSize: 3 },
      { kind: "adapter", normBefore: true },
    ],
  });
  const { tensors, read } = saved as Required<Pick<SavedAdapter, "tensors" | "read">>;
  const values = ({ shape }: { shape: readonly number[] }) =>
    Float32Array.from({ length: shape.reduce((a, b) => a * b, 1) }, (_, i) => i);
  const once = tensors(values, values);
  const twice = new Map(once);
  for (const [key, tensor] of once) {
    const tail = key.split("model.prefix_tuning.")[1];
    if (tail) twice.set(`model.layers.0.self_attn.prefix_tuning.pool.${tail}`, tensor);
    twice.set(key.replace(".adapter_norm_before.", ".adapter_down.0."), tensor);
  }
  expect(twice.size).toBeGreaterThan(once.size);
  expect(read(twice, undefined)).toEqual(read(once, undefined));
});

it("presets are the library's", () => {
  const config = (preset: "double_seq_bn" | "scaled_par_bn" | "compacter++") =>
    toBottleneckConfig(bottleneckSettings({ preset }));
  expect(config("double_seq_bn")).toMatchObject({
    mh_adapter: true,
    output_adapter: true,
    original_ln_before: false,
    non_linearity: "swish",
    reduction_factor: 16,
  });
  expect(config("scaled_par_bn")).toMatchObject({
    is_parallel: true,
    scaling: "learned",
    init_weights: "mam_adapter",
    reduction_factor: 2,
  });
  expect(config("compacter++")).toMatchObject({
    phm_layer: true,
    mh_adapter: false,
    non_linearity: "gelu",
    reduction_factor: 32,
    inv_adapter: null,
  });
});

describe("first values", () => {
  const valuesOf = async (options: MethodOptions, ending: string) => {
    const spec = bind(options).parameters.find(({ key }) => key.endsWith(ending))!;
    return [...(await spec.initial(createRandom(1), base, noVocabulary, base))];
  };
  const deviation = (values: readonly number[]) =>
    Math.sqrt(values.reduce((total, value) => total + value * value, 0) / values.length);

  it("are as `init` says", async () => {
    const adapter = (init: "bert" | "houlsby" | "mam_adapter") =>
      ({ name: "adapter", reductionFactor: 1, init }) as const;
    expect(deviation(await valuesOf(adapter("bert"), "adapter_up.weight"))).toBeCloseTo(0.02, 3);
    const cut = await valuesOf(adapter("houlsby"), "adapter_up.weight");
    expect(Math.max(...cut.map(Math.abs))).toBeLessThanOrEqual(0.02);
    // The deviation of a normal distribution cut off at two of its own.
    expect(deviation(cut)).toBeCloseTo(0.0088, 3);
    const down = await valuesOf(adapter("mam_adapter"), "adapter_down.0.weight");
    expect(Math.max(...down.map(Math.abs))).toBeLessThanOrEqual(1 / 8);
    expect(deviation(down)).toBeCloseTo(1 / 8 / Math.sqrt(3), 2);
    expect(new Set(await valuesOf(adapter("mam_adapter"), "adapter_up.weight"))).toEqual(
      new Set([0]),
    );
    const gate = (init: "bert" | "houlsby" | "mam_adapter") =>
      valuesOf({ ...adapter(init), gated: true }, "gate.weight").then(deviation);
    expect(await gate("bert")).toBeCloseTo(0.02, 2);
    expect(await gate("mam_adapter")).toBeCloseTo(0.02, 2);
    expect(await gate("houlsby")).toBeCloseTo(1 / 8 / Math.sqrt(3), 1.5);
  });
});

it("a prefix's dropout is of its own for each row, as in the library", () => {
  const part = { kind: "prefix", flat: true, length: 5, dropout: 0.5 } as const;
  const { prefix } = bind({ name: "unipelt", union: [part] });
  const path = model.blocks[1]!.attention;
  const dropped: string[] = [];
  const scope = (training: boolean) =>
    ({
      batch: 3,
      sequence: 4,
      training,
      parameter: ({ key, shape }: ParameterSpec) => input(key, shape),
      dropout(x: Tensor, probability: number, site: string) {
        dropped.push(`${site} [${x.shape}] ${probability}`);
        return x;
      },
    }) as unknown as MethodScope;
  const states = (training: boolean) => prefix!(path, input("x", [12, 64]), scope(training))!;
  expect(states(false).keys.shape[0]).toBe(1);
  expect(dropped).toEqual([]);
  expect(states(true).values.shape).toEqual([3, 2, 5, 16]);
  expect(dropped).toEqual([`${path} keys [3,2,5,16] 0.5`, `${path} values [3,2,5,16] 0.5`]);
});

describe("options that do not fit", () => {
  it.each<[string, MethodOptions, RegExp]>([
    ["a layer beyond the last", { name: "adapter", leaveOut: [3] }, /leaveOut[\s\S]*from 0 to 2/],
    ["nothing left", { name: "adapter", leaveOut: [0, 1, 2] }, /leave at least one adapter/],
    [
      "no factor for a layer",
      { name: "adapter", reductionFactor: { 0: 8 } },
      /none for layer 1[\s\S]*default: 16/,
    ],
    [
      "a factor for no layer",
      { name: "adapter", reductionFactor: { 7: 8, default: 16 } },
      /its keys are layers[\s\S]*"7"/,
    ],
    [
      "a dimension that divides no bottleneck",
      { name: "adapter", preset: "compacter" },
      /phmDimension[\s\S]*4, where a width is 2/,
    ],
    [
      "two starts at once",
      { name: "adapter", preset: "compacter", reductionFactor: 4, init: "houlsby" },
      /start of their own/,
    ],
    [
      "a norm that is not there",
      { name: "adapter", adapterResidualBeforeNorm: true },
      /goes with normAfter/,
    ],
    ["nothing to undo", { name: "adapter", invertsOutput: true }, /set invertible: nice/],
    ["a name with a dot", { name: "adapter", adapterName: "a.b" }, /part of each tensor's key/],
    [
      "two parts at one place",
      { name: "unipelt", union: [{ kind: "adapter" }, { kind: "adapter", preset: "par_bn" }] },
      /method\.union\.1[\s\S]*model\.layers\.0\.mlp, which part 0 changes too/,
    ],
    [
      "two prefixes",
      {
        name: "unipelt",
        union: [
          { kind: "prefix", leaveOut: [0] },
          { kind: "prefix", leaveOut: [1, 2] },
        ],
      },
      /a second prefix/,
    ],
    [
      "LoRA where no layer is left",
      { name: "unipelt", union: [{ kind: "lora", leaveOut: [0, 1, 2] }] },
      /every target names/,
    ],
    [
      "a fault inside of a part",
      { name: "unipelt", union: [{ kind: "lora" }, { kind: "adapter", leaveOut: [9] }] },
      /method\.union\.1\.leaveOut/,
    ],
  ])("%s", (_, options, message) => {
    expect(() => bind(options)).toThrow(message);
  });

  it("adapters that cannot be fused are named", () => {
    const [fused, parallel] = ["fusion-dynamic/adapter/alpha", "par-bn/adapter"].map((name) =>
      join(CASES, name),
    ) as [string, string];
    const fuse = (...adapters: string[]) => bind({ name: "adapter-fusion", adapters });
    expect(() => fuse(fused, fused)).toThrow(/have different names[\s\S]*"alpha"/);
    expect(() => fuse(parallel, fused)).toThrow(/parallel: true[\s\S]*train it without parallel/);
    expect(() => fuse(fused, join(CASES, "double-seq-bn/adapter"))).toThrow(
      /sit at the same places[\s\S]*afterAttention: false/,
    );
    expect(() => fuse(fused, join(CASES, "../lora/q-v/adapter"))).toThrow(
      /train the adapters to be fused with method: adapter/,
    );
  });
});
