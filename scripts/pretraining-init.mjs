/**
 * Writes the untrained model that pretraining starts from: the LLaMA architecture with random weights, its tokenizer and
 * chat template, as a Hugging Face folder. Deterministic.
 *
 *     node scripts/pretraining-init.mjs TOKENIZER_DIRECTORY OUT_DIRECTORY
 */
import { cpSync, mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { installInduction } from "./pretraining/induction.mjs";
import { createRandom } from "./pretraining/random.mjs";

const config = {
  architectures: ["LlamaForCausalLM"],
  model_type: "llama",
  vocab_size: 2048,
  hidden_size: 192,
  intermediate_size: 512,
  num_hidden_layers: 6,
  num_attention_heads: 6,
  num_key_value_heads: 2,
  head_dim: 32,
  hidden_act: "silu",
  max_position_embeddings: 256,
  rms_norm_eps: 1e-5,
  rope_theta: 10000,
  attention_bias: false,
  mlp_bias: false,
  attention_dropout: 0,
  initializer_range: 0.02,
  tie_word_embeddings: true,
  bos_token_id: 0,
  eos_token_id: 2,
  pad_token_id: 0,
  dtype: "float32",
  use_cache: true,
};

const chatTemplate =
  "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\\n' + message['content'] + '<|im_end|>\\n' }}{% endfor %}" +
  "{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}";

const tokenizerConfig = {
  tokenizer_class: "PreTrainedTokenizerFast",
  model_max_length: config.max_position_embeddings,
  clean_up_tokenization_spaces: false,
  add_prefix_space: false,
  bos_token: null,
  eos_token: "<|im_end|>",
  pad_token: "<|endoftext|>",
  unk_token: null,
  chat_template: chatTemplate,
};

const generationConfig = {
  bos_token_id: config.bos_token_id,
  eos_token_id: [config.eos_token_id, 0],
  pad_token_id: config.pad_token_id,
  do_sample: false,
};

const [tokenizerDirectory, outDirectory] = process.argv.slice(2);
if (!outDirectory)
  throw new Error("usage: node scripts/pretraining-init.mjs TOKENIZER_DIRECTORY OUT_DIRECTORY");

mkdirSync(outDirectory, { recursive: true });
for (const [name, content] of [
  ["config.json", config],
  ["tokenizer_config.json", tokenizerConfig],
  ["generation_config.json", generationConfig],
])
  writeFileSync(join(outDirectory, name), `${JSON.stringify(content, null, 2)}\n`);
cpSync(join(tokenizerDirectory, "tokenizer.json"), join(outDirectory, "tokenizer.json"));
writeFileSync(join(outDirectory, "model.safetensors"), encodeSafetensors(initialWeights()));

/** Tensors by name, normal with deviation 0.02; projections back into the residual stream start smaller (GPT-2, §2.3). */
function initialWeights() {
  const random = createRandom(1);
  const deviation = config.initializer_range;
  const embeddingDeviation = 1.5 * deviation;
  const residual = deviation / Math.sqrt(2 * config.num_hidden_layers);
  const matrix = (rows, columns, scale) => ({
    shape: [rows, columns],
    data: Float32Array.from({ length: rows * columns }, () => scale * random.normal()),
  });
  const ones = (length) => ({ shape: [length], data: new Float32Array(length).fill(1) });

  const { hidden_size: hidden, intermediate_size: inner, head_dim: head } = config;
  const queries = config.num_attention_heads * head;
  const keys = config.num_key_value_heads * head;
  const tensors = {
    "model.embed_tokens.weight": matrix(config.vocab_size, hidden, embeddingDeviation),
  };
  for (let layer = 0; layer < config.num_hidden_layers; layer++) {
    const own = {
      "self_attn.q_proj": matrix(queries, hidden, deviation),
      "self_attn.k_proj": matrix(keys, hidden, deviation),
      "self_attn.v_proj": matrix(keys, hidden, deviation),
      "self_attn.o_proj": matrix(hidden, queries, residual),
      "mlp.gate_proj": matrix(inner, hidden, deviation),
      "mlp.up_proj": matrix(inner, hidden, deviation),
      "mlp.down_proj": matrix(hidden, inner, residual),
      input_layernorm: ones(hidden),
      post_attention_layernorm: ones(hidden),
    };
    for (const [name, tensor] of Object.entries(own))
      tensors[`model.layers.${layer}.${name}.weight`] = tensor;
  }
  tensors["model.norm.weight"] = ones(hidden);
  installInduction(tensors, config, embeddingDeviation, random);
  return tensors;
}

/** The safetensors format: header length, JSON header, data. */
function encodeSafetensors(tensors) {
  const header = { __metadata__: { format: "pt" } };
  let offset = 0;
  for (const [name, { shape, data }] of Object.entries(tensors)) {
    header[name] = { dtype: "F32", shape, data_offsets: [offset, offset + data.byteLength] };
    offset += data.byteLength;
  }
  const json = JSON.stringify(header);
  const padded = Buffer.from(json.padEnd(Math.ceil(json.length / 8) * 8));
  const length = Buffer.alloc(8);
  length.writeBigUInt64LE(BigInt(padded.length));
  return Buffer.concat([
    length,
    padded,
    ...Object.values(tensors).map(({ data }) => Buffer.from(data.buffer)),
  ]);
}
