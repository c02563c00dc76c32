"""GPT-2, GPT-NeoX and Falcon: small random checkpoints as Transformers writes them, with what it computes."""

import torch
from peft import LoraConfig, PeftModel, get_peft_model
from safetensors.torch import load_file, save_file
from transformers import AutoConfig, AutoModelForCausalLM

from .adapters import by_file_key, perturb, save
from .architecture_models import greedy
from .evaluate import evaluate
from .store import write_case
from .tiny_model import make_batch, randomise

TOKENS = {"vocab_size": 97, "bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 0}
SIZES = {**TOKENS, "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "max_position_embeddings": 64}
GPT2 = {**TOKENS, "n_embd": 32, "n_layer": 2, "n_head": 4, "n_positions": 64, "n_inner": 36}
NEOX = {**SIZES, "intermediate_size": 36}
FALCON = {**SIZES, "ffn_hidden_size": 36}
NEW = {**FALCON, "new_decoder_architecture": True, "num_kv_heads": 2}

# name: (what it shows, model type, settings, batch settings)
MODELS = {
    "gpt2": ("learned positions, matrices the other way round, a tied head", "gpt2", GPT2, {}),
    "gpt2-scaled": (
        "scores divided by the layer's number alone, a head of its own, another activation",
        "gpt2",
        {**GPT2, "n_layer": 1, "scale_attn_weights": False, "scale_attn_by_inverse_layer_idx": True, "n_inner": None,
         "activation_function": "relu", "tie_word_embeddings": False},
        {},
    ),
    "gpt-neox": ("a quarter of each head rotated, parallel residuals", "gpt_neox", NEOX, {}),
    "gpt-neox-sequential": (
        "half of each head rotated, one half of a block after the other, no biases in attention, a tied head",
        "gpt_neox",
        {**NEOX, "use_parallel_residual": False, "attention_bias": False, "rotary_pct": 0.5, "rotary_emb_base": 5000,
         "hidden_act": "gelu_pytorch_tanh", "tie_word_embeddings": True},
        {},
    ),
    "falcon": ("groups of heads fused with their key and value, two norms", "falcon", NEW, {}),
    "falcon-one-norm": (
        "groups of heads, one norm for both halves, biases, a head of its own",
        "falcon",
        {**NEW, "num_hidden_layers": 1, "num_ln_in_parallel_attn": 1, "bias": True, "tie_word_embeddings": False},
        {},
    ),
    "falcon-multi-query": ("one key and value head, one norm for both halves", "falcon", FALCON, {}),
    "falcon-sequential": (
        "a key and a value for every head, one half of a block after the other",
        "falcon",
        {**FALCON, "num_hidden_layers": 1, "multi_query": False, "parallel_attn": False},
        {},
    ),
}

# name: (what it shows, whose weights, LoRA settings, batch settings)
LORAS = {
    "gpt2-lora": ("LoRA as PEFT places it, a row padded on the right", "gpt2", {"r": 4}, {"padding": "right"}),
    "gpt2-lora-left": (
        "LoRA on every kind of matrix, a row padded on the left",
        "gpt2",
        {"r": 2, "target_modules": ["c_attn", "c_fc", "c_proj"]},
        {"padding": "left"},
    ),
    "gpt-neox-lora": ("LoRA as PEFT places it, a row padded on the right", "gpt-neox", {"r": 4}, {"padding": "right"}),
    "gpt-neox-lora-left": (
        "LoRA on all linear layers, a row padded on the left",
        "gpt-neox-sequential",
        {"r": 2, "target_modules": "all-linear"},
        {"padding": "left"},
    ),
    "falcon-lora": ("LoRA as PEFT places it, a row padded on the right", "falcon", {"r": 4}, {"padding": "right"}),
    "falcon-lora-left": (
        "LoRA on all linear layers, a row padded on the left",
        "falcon-multi-query",
        {"r": 2, "target_modules": "all-linear"},
        {"padding": "left"},
    ),
}

EMBEDDINGS = ("wte", "wpe", "embed_in", "embed_out", "embed_tokens", "word_embeddings", "lm_head", "output_layer")


def _value(name, noise):
    if name.endswith("bias"):
        return 0.3 * noise
    if noise.dim() == 1:
        return 1 + 0.2 * noise
    if any(part in name.split(".") for part in EMBEDDINGS):
        return 0.5 * noise
    # A Conv1D is stored as [in, out].
    return noise * 1.5 / noise.shape[0 if ".c_" in name else 1] ** 0.5


def make_random(model, seed):
    """Random weights that are large enough to show; see `tiny_model`."""
    return randomise(model, seed, _value)


def load(directory):
    model = AutoModelForCausalLM.from_pretrained(directory, dtype=torch.float32, attn_implementation="sdpa")
    model.config.use_cache = False
    return model.eval()


def by_file_name(model, tensors):
    """From names in memory to those of the checkpoint; matrices of a Conv1D as [out, in], as they are trained."""
    if model.config.model_type == "gpt_neox":
        return {name.replace("lm_head.", "embed_out."): value for name, value in tensors.items()}
    return {name: value.T if ".c_" in name and value.dim() == 2 else value for name, value in tensors.items()}


def write_models(root, models, seed):
    for index, (name, (shows, model_type, settings, batch_settings)) in enumerate(models.items()):
        directory = root / name
        config = AutoConfig.for_model(model_type, **settings)
        make_random(AutoModelForCausalLM.from_config(config), seed + index).save_pretrained(directory / "model")
        model = load(directory / "model")
        batch = make_batch(seed + 20 + index, **batch_settings)
        results = evaluate(model, batch)
        results["gradients"] = by_file_name(model, results["gradients"])
        write_case(directory, shows, results, [batch], model="model", greedy=greedy(model, seed + 40 + 10 * index))


def write_loras(root, loras, seed):
    for index, (name, (shows, base, settings, batch_settings)) in enumerate(loras.items()):
        directory, model_path = root / name, f"../{base}/model"
        directory.mkdir()
        torch.manual_seed(seed + index)
        peft = get_peft_model(load(directory / model_path), LoraConfig(task_type="CAUSAL_LM", lora_alpha=6, **settings))
        peft.peft_config["default"].base_model_name_or_path = f"tiny-{base}"
        perturb(peft, seed + 10 + index)
        save(peft, directory / "adapter")
        model = PeftModel.from_pretrained(load(directory / model_path), directory / "adapter", is_trainable=True)
        batch = make_batch(seed + 20 + index, **batch_settings)
        results = evaluate(model.eval(), batch)
        results["gradients"] = by_file_key(model, results["gradients"])
        write_case(directory, shows, results, [batch], model=model_path, adapter="adapter")


def _write_without_prefix(root):
    """GPT-2 as the hub's files have it: names without the base model's prefix, and the mask beside them."""
    directory, source = root / "gpt2-hub-names", root / "gpt2"
    (directory / "model").mkdir(parents=True)
    tensors = {name.removeprefix("transformer."): value for name, value in load_file(source / "model/model.safetensors").items()}
    tensors["h.0.attn.bias"] = torch.ones(64, 64).tril().view(1, 1, 64, 64)
    tensors["h.0.attn.masked_bias"] = torch.tensor(-1e4)
    save_file(tensors, directory / "model" / "model.safetensors")
    (directory / "model" / "config.json").write_text((source / "model/config.json").read_text())
    batch = make_batch(5990, padding="left")
    trained = "transformer.h.1.attn.c_attn.bias"
    results = evaluate(load(directory / "model"), batch)
    results["gradients"] = {trained: results["gradients"][trained]}
    shows = "names as the hub's files have them, buffers beside them, a row padded on the left"
    write_case(directory, shows, results, [batch], model="model", method={"name": "freeze", "weights": [trained]})


def write_gpt_cases(root):
    """Writes every case below `root`, each in a folder of its own."""
    write_models(root, MODELS, 5600)
    write_loras(root, LORAS, 5700)
    _write_without_prefix(root)
