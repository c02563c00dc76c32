// A Gemma through a GGUF file is the Gemma of its folder, norms without what the file adds to them.

import { join } from "node:path";
import { expect, it } from "vitest";
import { openCheckpoint } from "../checkpoint.ts";
import { temporaryFile } from "../testing/files.ts";
import { float32Tensor, ggufBytes } from "../testing/gguf-builder.ts";
import { ggufPlace } from "./gguf-architectures.ts";
import { GEMMAS } from "./gguf-gemma.ts";

const CASES = join(import.meta.dirname, "../../../tests/parity/cases/architectures");
const SIZES = {
  context_length: 64,
  embedding_length: 32,
  block_count: 2,
  feed_forward_length: 36,
  "attention.head_count": 4,
  "attention.head_count_kv": 2,
  "attention.key_length": 12,
  "attention.layer_norm_rms_epsilon": 1e-5,
};
const TWO = {
  "attention.sliding_window": 5,
  attn_logit_softcapping: 2.5,
  final_logit_softcapping: 4.5,
};

it.each([
  ["gemma", {}, { model_type: "gemma", hidden_act: "gelu_pytorch_tanh" }],
  [
    "gemma2",
    TWO,
    {
      model_type: "gemma2",
      hidden_activation: "gelu_pytorch_tanh",
      query_pre_attn_scalar: 12,
      sliding_window: 5,
      attn_logit_softcapping: 2.5,
      final_logit_softcapping: 4.5,
    },
  ],
  [
    "gemma3-text",
    { "attention.sliding_window": 5, "rope.freq_base": 5000.5 },
    {
      model_type: "gemma3_text",
      query_pre_attn_scalar: 12,
      sliding_window: 5,
      layer_types: ["sliding_attention", "sliding_attention"],
      rope_theta: 5000.5,
      rope_local_base_freq: 10000,
      final_logit_softcapping: null,
    },
  ],
])("%s", async (name, further, config) => {
  const folder = await openCheckpoint(join(CASES, name, "model"));
  const architecture = GEMMAS.find(({ modelType }) => modelType === folder.config.model_type)!;
  const read = async (from: typeof folder, tensor: string) => {
    const { shape } = from.tensors.get(tensor)!;
    const data = new Float32Array(shape.reduce((product, size) => product * size, 1));
    await from.readFloat32Into(tensor, data);
    return { shape, data };
  };
  const tensors = [];
  for (const tensor of folder.tensors.keys()) {
    const { shape, data } = await read(folder, tensor);
    const added = tensor.endsWith("norm.weight") ? 1 : 0;
    const place = ggufPlace(tensor, architecture)!;
    tensors.push(
      float32Tensor(
        place.name,
        [...shape],
        [...data].map((value) => value + added),
      ),
    );
  }
  const sizes = Object.entries({ ...SIZES, ...further });
  const metadata = {
    "general.architecture": architecture.name,
    ...Object.fromEntries(sizes.map(([key, value]) => [`${architecture.name}.${key}`, value])),
  };
  const file = await openCheckpoint(temporaryFile(`${name}.gguf`, ggufBytes(metadata, tensors)));
  try {
    expect(file.config).toMatchObject({ ...config, tie_word_embeddings: true, head_dim: 12 });
    expect([...file.tensors.keys()].sort()).toEqual([...folder.tensors.keys()].sort());
    for (const tensor of folder.tensors.keys()) {
      const [own, theirs] = [await read(file, tensor), await read(folder, tensor)];
      own.data.forEach((value, i) => void expect(value).toBeCloseTo(theirs.data[i]!, 6));
      // What is stored otherwise than it is read has no place to be mapped from.
      expect("location" in file.tensors.get(tensor)!).toBe(!tensor.endsWith("norm.weight"));
    }
  } finally {
    await file.close();
    await folder.close();
  }
});
