"""Architectures of one table: for each a small random checkpoint with what it computes, a batch padded on the
right, and a LoRA on a batch padded on the left.
"""

from zlib import crc32

import torch
from peft import LoraConfig, PeftModel, get_peft_model

from .adapters import by_file_key, perturb, save
from .architecture_models import evaluated, greedy, load, make
from .evaluate import evaluate
from .store import write_case
from .tiny_model import make_batch

LAYERS = ["sliding_attention", "full_attention"]
SPLIT = ["q_proj", "k_proj", "o_proj", "down_proj"]

# name: (what it shows, model type, settings, targets of the LoRA, whose gradients tell under padding, length of the LoRA's batch)
ARCHITECTURES = {
    "qwen2-window": (
        "a window of 5 positions in the last layer alone",
        "qwen2",
        {"use_sliding_window": True, "sliding_window": 5, "max_window_layers": 1},
        SPLIT,
        "k_proj",
        12,
    ),
    "qwen3-moe": (
        "3 of 6 experts, a window of 5 positions, heads normed",
        "qwen3_moe",
        {
            "head_dim": 12,
            "moe_intermediate_size": 12,
            "num_experts": 6,
            "num_experts_per_tok": 3,
            "norm_topk_prob": True,
            "use_sliding_window": True,
            "sliding_window": 5,
            "tie_word_embeddings": False,
        },
        ["q_proj", "k_proj", "o_proj"],
        "k_proj",
        12,
    ),
    "gemma": ("scaled embeddings, norms around 1, a GELU gate", "gemma", {"head_dim": 12}, SPLIT, "k_proj", 12),
    "gemma2": (
        "caps on scores and logits, norms around both halves, a window of 5 positions in the first layer",
        "gemma2",
        {
            "head_dim": 12,
            "query_pre_attn_scalar": 20,
            "attn_logit_softcapping": 2.0,
            "final_logit_softcapping": 4.0,
            "sliding_window": 5,
        },
        SPLIT,
        "k_proj",
        12,
    ),
    "gemma3-text": (
        "a rotary embedding for each kind of layer, heads normed, a window of 5 positions in the first layer",
        "gemma3_text",
        {
            "head_dim": 12,
            "query_pre_attn_scalar": 20,
            "sliding_window": 5,
            "layer_types": LAYERS,
            "rope_parameters": {
                "full_attention": {"rope_type": "linear", "factor": 4.0, "rope_theta": 10000.0},
                "sliding_attention": {"rope_type": "default", "rope_theta": 100.0},
            },
        },
        SPLIT,
        "k_proj",
        12,
    ),
    "phi3": (
        "fused projections, half of each head rotated, LongRoPE on both sides of its length, a window of 7 positions",
        "phi3",
        {
            "original_max_position_embeddings": 20,
            "sliding_window": 7,
            "rope_parameters": {
                "rope_type": "longrope",
                "rope_theta": 10000.0,
                "partial_rotary_factor": 0.5,
                "short_factor": [1.0, 1.5],
                "long_factor": [2.0, 9.0],
            },
        },
        ["qkv_proj", "gate_up_proj", "o_proj"],
        "qkv_proj",
        40,
    ),
    "phi": (
        "both halves from one LayerNorm, biases on every layer and on the logits, half of each head rotated, heads normed",
        "phi",
        {"qk_layernorm": True, "tie_word_embeddings": False},
        ["q_proj", "dense", "fc1"],
        "k_proj",
        12,
    ),
    "olmo2": ("norms behind both halves, queries and keys normed as one row", "olmo2", {}, SPLIT, "k_proj", 12),
}


def _write_lora(directory, model_path, shows, model_type, targets, batch, seed):
    torch.manual_seed(seed)
    model = get_peft_model(load(directory / model_path), LoraConfig(task_type="CAUSAL_LM", r=4, target_modules=targets))
    model.peft_config["default"].base_model_name_or_path = f"tiny-{model_type}"
    perturb(model, seed + 1)
    save(model, directory / "adapter")
    model = PeftModel.from_pretrained(load(directory / model_path), directory / "adapter", is_trainable=True)
    results = evaluate(model.eval(), batch)
    results["gradients"] = by_file_key(model, results["gradients"])
    write_case(directory, shows, results, [batch], model=model_path, adapter="adapter")


def write_architecture_table(root):
    """Writes every case below `root`, each in a folder of its own."""
    for name, (shows, model_type, settings, targets, told, lora_length) in ARCHITECTURES.items():
        seed = crc32(name.encode()) % 10**6  # of the name, so that a row may come or go
        directory = root / name
        make(seed, model_type, settings).save_pretrained(directory / "model")
        model = load(directory / "model")
        batch = make_batch(seed)
        results = evaluated(model, batch, model_type)
        write_case(directory, shows, results, [batch], model="model", greedy=greedy(model, seed))

        model_path = f"../{name}/model"
        padded = root / f"{name}-right-padding"
        padded.mkdir()
        batch = make_batch(seed + 1, padding="right")
        results = evaluated(load(padded / model_path), batch, model_type, lambda key: f".{told}." in key)
        method = {"name": "freeze", "weights": [told]}
        write_case(padded, f"{shows}; a row padded on the right", results, [batch], model=model_path, method=method)

        adapted = root / f"{name}-lora"
        adapted.mkdir()
        batch = make_batch(seed + 2, padding="left", length=lora_length)
        shown = f"{shows}; LoRA, a row padded on the left"
        _write_lora(adapted, model_path, shown, model_type, targets, batch, seed + 3)
