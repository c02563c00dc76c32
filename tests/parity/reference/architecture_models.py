"""Small random checkpoints of an architecture, as Transformers writes and reads them, and what they compute."""

import torch
from transformers import AutoConfig, AutoModelForCausalLM

from .evaluate import evaluate
from .tiny_model import BASE, llama_value, make_batch, randomise


def make(seed, model_type, settings):
    """A model whose random weights are large enough to show; see `tiny_model`."""
    norm_centre = 0 if model_type.startswith("gemma") else 1
    rope = {"rope_type": "default", "rope_theta": 10000.0}
    config = AutoConfig.for_model(model_type, **{**BASE, "rope_parameters": rope, **settings})
    model = AutoModelForCausalLM.from_config(config)
    return randomise(model, seed, lambda name, noise: llama_value(name, noise, norm_centre))


def load(directory):
    config = AutoConfig.from_pretrained(directory)
    # Capped scores are not among what the fused attention can do.
    attention = "eager" if config.model_type == "gemma2" else "sdpa"
    model = AutoModelForCausalLM.from_pretrained(directory, dtype=torch.float32, attn_implementation=attention)
    # Experts one after another: the fused products are of other precisions.
    model.set_experts_implementation("eager")
    model.config.use_cache = False
    return model.eval()


def by_file_name(model_type, tensors):
    """From parameters in memory, where experts are fused, to the names and tensors of the checkpoint."""
    is_mixtral = model_type == "mixtral"
    gate, up, down = ("w1", "w3", "w2") if is_mixtral else ("gate_proj", "up_proj", "down_proj")
    named = {}
    for name, value in tensors.items():
        path = name.replace(".mlp.", ".block_sparse_moe.") if is_mixtral else name
        if name.endswith(".experts.gate_up_proj"):
            for index, both in enumerate(value):
                for part, half in zip((gate, up), both.chunk(2)):
                    named[path.replace("gate_up_proj", f"{index}.{part}.weight")] = half
        elif name.endswith(".experts.down_proj"):
            for index, one in enumerate(value):
                named[path.replace("down_proj", f"{index}.{down}.weight")] = one
        else:
            named[path] = value
    return named


def greedy(model, seed):
    """What follows two prompts, token by token."""
    answers = []
    for length in (3, 7):
        prompt = make_batch(seed + length, rows=1, length=length)["inputIds"]
        tokens = model.generate(
            prompt, attention_mask=torch.ones_like(prompt), max_new_tokens=16, do_sample=False, eos_token_id=None, pad_token_id=0
        )
        answers.append({"prompt": prompt[0].tolist(), "tokens": tokens[0, length:].tolist()})
    return answers


def evaluated(model, batch, model_type, trained=lambda name: True):
    results = evaluate(model, batch)
    named = by_file_name(model_type, results["gradients"])
    results["gradients"] = {name.removeprefix("inner."): value for name, value in named.items() if trained(name)}
    return results
