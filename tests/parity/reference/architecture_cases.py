"""Architectures beside LLaMA: one small random checkpoint each, as Transformers writes it, with what it
computes; and for mixtures of experts, what the router, the balancing loss and LoRAs on experts do.
"""

import torch
from peft import LoraConfig
from torch import nn
from transformers import AutoConfig, AutoModelForCausalLM

from .adapters import perturb, save
from .evaluate import evaluate
from .store import write_case, write_json
from .tiny_model import BASE, make_batch

EXPERTS = {"intermediate_size": 20, "num_local_experts": 5, "num_experts_per_tok": 2, "tie_word_embeddings": False}
QWEN2_MOE = {
    "moe_intermediate_size": 12,
    "shared_expert_intermediate_size": 20,
    "num_experts": 6,
    "num_experts_per_tok": 3,
    "tie_word_embeddings": False,
}

# name: (what it shows, model type, settings, batch settings)
MODELS = {
    "qwen2": ("biases on queries, keys and values alone", "qwen2", {}, {}),
    "qwen3": ("queries and keys normed head by head, heads of their own size", "qwen3", {"head_dim": 12}, {}),
    "mistral": ("no window", "mistral", {"sliding_window": None}, {"padding": "right"}),
    "mistral-window": ("a window of 5 positions, the sequence longer", "mistral", {"sliding_window": 5}, {"length": 20}),
    "mixtral": ("2 of 5 experts, weights that add up to 1", "mixtral", EXPERTS, {}),
    "qwen2-moe": ("3 of 6 experts, weights as they are, beside a shared one", "qwen2_moe", QWEN2_MOE, {}),
    "qwen2-moe-mixed": (
        "a dense layer before one with experts, weights that add up to 1, no biases",
        "qwen2_moe",
        {**QWEN2_MOE, "mlp_only_layers": [0], "norm_topk_prob": True, "qkv_bias": False},
        {},
    ),
}

# name: (what it shows, whose weights, batch settings)
BATCHES = {
    "mistral-window-right-padding": ("a window, a row padded on the right", "mistral-window", {"padding": "right", "length": 18}),
    "mistral-window-left-padding": ("a window, a row padded on the left", "mistral-window", {"padding": "left", "length": 18}),
    "qwen2-right-padding": ("a row padded on the right", "qwen2", {"padding": "right"}),
    "qwen3-right-padding": ("a row padded on the right", "qwen3", {"padding": "right"}),
    "mixtral-right-padding": ("experts, a row padded on the right", "mixtral", {"padding": "right"}),
    "mixtral-left-padding": ("experts, a row padded on the left", "mixtral", {"padding": "left"}),
    "qwen2-moe-right-padding": ("experts, a row padded on the right", "qwen2-moe", {"padding": "right"}),
}

# name: (what it shows, whose weights, changes of the config, batch settings): the balancing loss
BALANCED = {
    "mixtral-balanced": (
        "the balancing loss, a row padded on the right",
        "mixtral",
        {"output_router_logits": True, "router_aux_loss_coef": 0.5},
        {"padding": "right"},
    ),
    "qwen2-moe-balanced": (
        "the balancing loss of the layers that have experts",
        "qwen2-moe-mixed",
        {"output_router_logits": True, "router_aux_loss_coef": 0.3},
        {},
    ),
}

# name: (what it shows, whose weights, our options, which of the file's tensors are trained)
PARTS = {
    "mixtral-routers": (
        "routers alone are trained",
        "mixtral-balanced",
        {"name": "freeze", "parts": "routers"},
        lambda name: name.endswith(".gate.weight"),
    ),
    "mixtral-experts": (
        "experts alone are trained",
        "mixtral",
        {"name": "freeze", "parts": "experts"},
        lambda name: ".experts." in name,
    ),
    "qwen2-moe-experts": (
        "experts alone are trained, of the last layer",
        "qwen2-moe",
        {"name": "freeze", "parts": "experts", "blocks": 1},
        lambda name: ".layers.1.mlp.experts." in name,
    ),
}

# name: (what it shows, whose weights, LoRA settings, batch settings)
LORAS = {
    "qwen2-lora": ("LoRA beside biases", "qwen2", {"r": 4, "target_modules": ["q_proj", "o_proj", "down_proj"]}, {}),
    "qwen3-lora": ("LoRA in front of the heads' norms", "qwen3", {"r": 4, "target_modules": ["q_proj", "k_proj"]}, {}),
    "mistral-lora": ("LoRA with a window", "mistral-window", {"r": 4, "target_modules": "all-linear"}, {"length": 16}),
    "mixtral-lora": ("LoRA in attention", "mixtral", {"r": 4, "target_modules": ["q_proj", "v_proj"]}, {"padding": "right"}),
    "qwen2-moe-lora": (
        "LoRA in attention and on the shared expert's gate",
        "qwen2-moe",
        {"r": 4, "target_modules": ["k_proj", "shared_expert_gate"]},
        {},
    ),
}


def _make(seed, model_type, settings):
    """A model whose random weights are large enough to show; see `tiny_model`."""
    rope = {"rope_type": "default", "rope_theta": 10000.0}
    config = AutoConfig.for_model(model_type, **{**BASE, "rope_parameters": rope, **settings})
    model = AutoModelForCausalLM.from_config(config)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            noise = torch.randn(parameter.shape, generator=generator)
            if "norm" in name:
                parameter.copy_(1 + 0.2 * noise)
            elif name.endswith("bias"):
                parameter.copy_(0.3 * noise)
            elif "embed_tokens" in name or "lm_head" in name:
                parameter.copy_(0.5 * noise)
            else:
                parameter.copy_(noise * 1.5 / parameter.shape[-1] ** 0.5)
    return model.eval()


def _load(directory):
    model = AutoModelForCausalLM.from_pretrained(directory, dtype=torch.float32, attn_implementation="sdpa")
    # Experts one after another: the fused products are of other precisions.
    model.set_experts_implementation("eager")
    model.config.use_cache = False
    return model.eval()


def by_file_name(tensors):
    """From parameters in memory, where experts are fused, to the names and tensors of the checkpoint."""
    named = {}
    for name, value in tensors.items():
        is_mixtral = ".mlp." in name and not any(part in name for part in _QWEN_ONLY) and _is_mixtral(tensors)
        file_name = name.replace(".mlp.", ".block_sparse_moe.") if is_mixtral else name
        gate, up, down = ("w1", "w3", "w2") if is_mixtral else ("gate_proj", "up_proj", "down_proj")
        if name.endswith(".experts.gate_up_proj"):
            for index, both in enumerate(value):
                for part, half in zip((gate, up), both.chunk(2)):
                    named[file_name.replace("gate_up_proj", f"{index}.{part}.weight")] = half
        elif name.endswith(".experts.down_proj"):
            for index, one in enumerate(value):
                named[file_name.replace("down_proj", f"{index}.{down}.weight")] = one
        else:
            named[file_name] = value
    return named
