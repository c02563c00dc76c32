"""Full fine-tuning cases: one checkpoint each, with logits, loss and the gradient of every weight."""

import json

import torch

from .evaluate import evaluate, train, trajectory_difference
from .store import write_case
from .tiny_model import ROPE, load_model, make_batch, make_model

SCALED = {"rope_theta": 10000.0, "factor": 4.0}

# name: (what it shows, model settings, batch settings)
CASES = {
    "base": ("grouped-query attention, tied head", {}, {}),
    "untied-head": ("a head of its own", {"tie_word_embeddings": False}, {}),
    "biases": (
        "biases in attention and MLP",
        {"attention_bias": True, "mlp_bias": True},
        {},
    ),
    "head-dim": ("heads wider than hidden / heads, one key-value head", {"head_dim": 12, "num_key_value_heads": 1}, {}),
    "rope-linear": (
        "linear rope scaling",
        {**ROPE, "rope_parameters": {"rope_type": "linear", **SCALED}},
        {"length": 24},
    ),
    "rope-dynamic": (
        "dynamic rope scaling, sequence longer than max_position_embeddings",
        {**ROPE, "max_position_embeddings": 16, "rope_parameters": {"rope_type": "dynamic", **SCALED}},
        {"length": 24},
    ),
    "rope-llama3": (
        "llama3 rope scaling",
        {
            **ROPE,
            "rope_parameters": {
                "rope_type": "llama3",
                "rope_theta": 10000.0,
                "factor": 8.0,
                "low_freq_factor": 1.0,
                "high_freq_factor": 4.0,
                "original_max_position_embeddings": 32,
            },
        },
        {"length": 24},
    ),
    "rope-yarn": (
        "yarn rope scaling",
        {
            **ROPE,
            "rope_parameters": {
                "rope_type": "yarn",
                **SCALED,
                "original_max_position_embeddings": 32,
            },
        },
        {"length": 24},
    ),
    "rope-yarn-full": (
        "yarn with every option: beta_fast, beta_slow, mscale, mscale_all_dim, truncate off",
        {
            **ROPE,
            "rope_parameters": {
                "rope_type": "yarn",
                **SCALED,
                "original_max_position_embeddings": 32,
                "beta_fast": 16.0,
                "beta_slow": 2.0,
                "mscale": 1.2,
                "mscale_all_dim": 0.7,
                "truncate": False,
            },
        },
        {"length": 24},
    ),
}

# Same weights as another case, another batch.
OTHER_BATCHES = {
    "right-padding": (
        "a row padded on the right, default positions",
        "../base/model",
        {"padding": "right"},
    ),
    "left-padding": (
        "a row padded on the left, default positions (Transformers counts the padding)",
        "../base/model",
        {"padding": "left"},
    ),
    "rope-dynamic-short": (
        "dynamic rope scaling, sequence within max_position_embeddings: no scaling yet",
        "../rope-dynamic/model",
        {"length": 12},
    ),
}

# Same settings as another case, with its config.json written the way older versions wrote it.
OLD_CONFIGS = {
    "old-config-theta": ("config.json with a top-level rope_theta and no scaling", {"rope_theta": 500.0}, {}),
    "old-config-type": (
        'config.json with rope_theta and rope_scaling under its oldest key, "type"',
        {"rope_theta": 10000.0, "rope_scaling": {"type": "linear", "factor": 4.0}},
        {"rope_type": "linear", "factor": 4.0},
    ),
    "old-config-llama3": (
        "config.json with rope_theta and rope_scaling as Llama 3 was published",
        {
            "rope_theta": 500000.0,
            "rope_scaling": {
                "factor": 8.0,
                "low_freq_factor": 1.0,
                "high_freq_factor": 4.0,
                "original_max_position_embeddings": 32,
                "rope_type": "llama3",
            },
        },
        {
            "rope_type": "llama3",
            "factor": 8.0,
            "low_freq_factor": 1.0,
            "high_freq_factor": 4.0,
            "original_max_position_embeddings": 32,
        },
    ),
}

FULL_OPTIMIZER = {"learningRate": 1e-3, "weightDecay": 0.01, "betas": [0.9, 0.999], "eps": 1e-8, "maxGradNorm": 1.0}


def _store(directory, shows, model_path, batch, **facts):
    model = load_model(directory / model_path)
    results = evaluate(model, batch)
    write_case(directory, shows, results, [batch], model=model_path, **facts)


def _write_trajectory(root):
    directory = root / "full-trajectory"
    model_path = "../base/model"
    batches = [make_batch(31), make_batch(32, padding="right")]
    directory.mkdir(parents=True, exist_ok=True)
    model = load_model(directory / model_path)
    losses, norms, final = train(model, batches, 20, FULL_OPTIMIZER)
    kept = ["model.norm.weight", "model.layers.1.self_attn.k_proj.weight"]
    write_case(
        directory,
        "20 AdamW steps on every weight, two batches in turn; two final tensors",
        None,
        batches,
        {f"final/{name}": final[name] for name in kept},
        model=model_path,
        optimizer=FULL_OPTIMIZER,
        losses=losses,
        gradientNorms=norms,
        float32Difference=trajectory_difference(model, batches, FULL_OPTIMIZER, losses, norms, final),
    )


def write_llama_cases(root):
    """Writes every case below `root`, each in a folder of its own."""
    for index, (name, (shows, settings, batch_settings)) in enumerate(CASES.items()):
        directory = root / name
        make_model(100 + index, **settings).save_pretrained(directory / "model")
        _store(directory, shows, "model", make_batch(200 + index, **batch_settings))

    for index, (name, (shows, model_path, batch_settings)) in enumerate(OTHER_BATCHES.items()):
        (root / name).mkdir(parents=True, exist_ok=True)
        _store(root / name, shows, model_path, make_batch(300 + index, **batch_settings))

    for index, (name, (shows, old_keys, parameters)) in enumerate(OLD_CONFIGS.items()):
        directory = root / name
        rope = {"rope_type": "default", "rope_theta": old_keys["rope_theta"], **parameters}
        make_model(400 + index, **{**ROPE, "rope_parameters": rope}).save_pretrained(directory / "model")
        path = directory / "model" / "config.json"
        config = json.loads(path.read_text())
        frequencies = load_model(directory / "model").model.rotary_emb.inv_freq
        del config["rope_parameters"]
        config.update(old_keys, torch_dtype=config.pop("dtype"), transformers_version="4.46.0")
        path.write_text(json.dumps(config, indent=2, sort_keys=True) + "\n")
        reread = load_model(directory / "model").model.rotary_emb.inv_freq
        assert torch.equal(reread, frequencies), f"{name}: the old config means something else"
        _store(directory, shows, "model", make_batch(410 + index, length=24))

    directory = root / "bf16-weights"
    make_model(500, **ROPE).to(torch.bfloat16).save_pretrained(directory / "model")
    _store(directory, "weights stored as bfloat16, computed in float32", "model", make_batch(501))

    directory = root / "f16-weights"
    make_model(502, **ROPE).to(torch.float16).save_pretrained(directory / "model")
    _store(directory, "weights stored as float16, computed in float32", "model", make_batch(503))

    directory = root / "sharded"
    make_model(504, **ROPE).save_pretrained(directory / "model", max_shard_size="20KB")
    assert (directory / "model" / "model.safetensors.index.json").exists()
    _store(directory, "a checkpoint in several files with an index", "model", make_batch(505))

    _write_trajectory(root)
