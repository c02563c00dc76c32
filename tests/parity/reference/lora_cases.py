"""LoRA cases: adapters written by PEFT with non-zero B, and what they do to model, loss and gradients.

Every expectation comes from the adapter as PEFT loads it back from the stored files, so that the
files alone must suffice.
"""

import tempfile
from pathlib import Path

import torch
from peft import LoraConfig, PeftModel, get_peft_model

from .adapters import by_file_key, fresh, load, perturb, save, store, write_trajectory
from .evaluate import evaluate, step
from .init_cases import write_init_case
from .store import write_case
from .tiny_model import load_model, make_batch

BASE, UNTIED, BIASES = "base", "untied-head", "biases"

# name: (what it shows, base model among the llama cases, LoRA settings, batch settings)
CASES = {
    "q-v": (
        "rank 8 on q_proj and v_proj, alpha 16",
        BASE,
        {"r": 8, "lora_alpha": 16, "target_modules": ["q_proj", "v_proj"]},
        {},
    ),
    "all-linear": (
        'target "all-linear" (PEFT stores the names it found), a row padded on the right',
        BASE,
        {"r": 4, "lora_alpha": 6, "target_modules": "all-linear"},
        {"padding": "right"},
    ),
    "regex": (
        "target as a regular expression over whole module paths",
        BASE,
        {"r": 4, "target_modules": r".*\.layers\.1\.(self_attn\.(q|k)_proj|mlp\.down_proj)"},
        {},
    ),
    "exclude-names": (
        "exclude_modules by suffix wins over targets",
        BASE,
        {
            "r": 4,
            "target_modules": ["q_proj", "k_proj", "v_proj", "o_proj"],
            "exclude_modules": ["k_proj", "layers.0.self_attn.v_proj"],
        },
        {},
    ),
    "exclude-regex": (
        "exclude_modules as a regular expression",
        BASE,
        {"r": 4, "target_modules": ["gate_proj", "up_proj"], "exclude_modules": r".*\.0\.mlp\.up_proj"},
        {},
    ),
    "patterns": (
        "rank_pattern and alpha_pattern: first match wins, other modules take the defaults",
        BASE,
        {
            "r": 8,
            "lora_alpha": 16,
            "target_modules": ["q_proj", "v_proj", "down_proj"],
            "rank_pattern": {"layers.1.self_attn.q_proj": 2, "q_proj": 4, r".*\.0\.mlp\..*": 6},
            "alpha_pattern": {"v_proj": 3, "^model.layers.0.self_attn.q_proj": 5},
        },
        {},
    ),
    "rslora": (
        "use_rslora: alpha / sqrt(rank), the rank being the module's own",
        BASE,
        {
            "r": 8,
            "lora_alpha": 4,
            "use_rslora": True,
            "target_modules": ["q_proj", "o_proj"],
            "rank_pattern": {"o_proj": 2},
        },
        {},
    ),
    "bias-all": (
        'bias "all": every bias of the model is trained and stored',
        BIASES,
        {"r": 4, "bias": "all", "target_modules": ["q_proj", "v_proj"]},
        {},
    ),
    "bias-lora-only": (
        'bias "lora_only": biases of the targeted modules',
        BIASES,
        {"r": 4, "bias": "lora_only", "target_modules": ["q_proj", "down_proj"]},
        {},
    ),
    "save-head": (
        "modules_to_save: a head of its own, trained in full",
        UNTIED,
        {"r": 4, "target_modules": ["q_proj"], "modules_to_save": ["lm_head"]},
        {},
    ),
    "save-embeddings": (
        "modules_to_save: the embeddings of a model whose head is separate",
        UNTIED,
        {"r": 4, "target_modules": ["q_proj"], "modules_to_save": ["embed_tokens"]},
        {},
    ),
    "save-embeddings-tied": (
        "modules_to_save: the embeddings of a model whose head shares them: the head keeps the old ones",
        BASE,
        {"r": 4, "target_modules": ["q_proj"], "modules_to_save": ["embed_tokens"]},
        {},
    ),
    "target-head": (
        "LoRA on lm_head: PEFT stores the frozen head beside it",
        UNTIED,
        {"r": 4, "target_modules": ["lm_head", "k_proj"]},
        {},
    ),
    "layers": (
        "layers_to_transform",
        BASE,
        {"r": 4, "target_modules": ["q_proj", "up_proj"], "layers_to_transform": [1]},
        {},
    ),
    "dora": (
        "use_dora: rows have lengths of their own, biases no part in them",
        BIASES,
        {"r": 4, "lora_alpha": 6, "use_dora": True, "target_modules": ["q_proj", "o_proj", "down_proj"]},
        {"padding": "right"},
    ),
    "dora-embeddings": (
        "use_dora on the embedding, whose columns have the lengths, and on the head",
        UNTIED,
        {"r": 4, "use_dora": True, "target_modules": ["embed_tokens", "lm_head"]},
        {},
    ),
    "target-tied": (
        "embedding and head targeted where the checkpoint ties them: each has its own adapter",
        BASE,
        {"r": 4, "target_modules": ["embed_tokens", "lm_head", "q_proj"], "rank_pattern": {"lm_head": 2}},
        {},
    ),
    "tokens-tied": (
        "trainable_token_indices where the checkpoint ties the head: it follows the embedding",
        BASE,
        {"r": 4, "target_modules": ["q_proj"], "trainable_token_indices": [5, 60, 17]},
        {"vocabulary": 20},
    ),
    "tokens-apart": (
        "trainable_token_indices of two modules, other tokens for each",
        BASE,
        {
            "r": 4,
            "target_modules": ["v_proj"],
            "trainable_token_indices": {"embed_tokens": [7, 3], "lm_head": [90, 12, 4]},
        },
        {"vocabulary": 20},
    ),
    "lora-bias": (
        "lora_bias: a bias of B, scaled as B is",
        BIASES,
        {"r": 4, "lora_alpha": 6, "lora_bias": True, "target_modules": ["q_proj", "up_proj"]},
        {},
    ),
    "mica": (
        "MiCA: B is frozen",
        BASE,
        {"r": 4, "init_lora_weights": "mica", "target_modules": ["v_proj", "gate_proj", "down_proj"]},
        {},
    ),
    "tokens-tied-head-lora": (
        "trainable_token_indices where the checkpoint ties the head, and LoRA on that head",
        BASE,
        {"r": 4, "lora_alpha": 6, "target_modules": ["q_proj", "lm_head"], "trainable_token_indices": [7, 3]},
        {"vocabulary": 20},
    ),
    "tokens-head-embedding-lora": (
        "trainable_token_indices of an untied head, and LoRA on the embedding",
        UNTIED,
        {
            "r": 4,
            "lora_alpha": 6,
            "target_modules": ["q_proj", "embed_tokens"],
            "trainable_token_indices": {"lm_head": [90, 12, 4]},
        },
        {"vocabulary": 20},
    ),
}

# Adapters for as many tokens as this, on bases with 97. What is not in their files is the mean of the base's rows.
GROWN_ROWS = 100
NEW = [97, 98]

# name: (what it shows, base model among the llama cases, LoRA settings)
GROWN = {
    "grown-rows": (
        "more tokens than the base has, their rows trained in both matrices",
        UNTIED,
        {"trainable_token_indices": {"embed_tokens": NEW, "lm_head": NEW}},
    ),
    "grown-embedding-lora": (
        "more tokens than the base has, LoRA on the embedding and rows of the head: the file lacks the head",
        UNTIED,
        {"target_modules": ["q_proj", "embed_tokens"], "trainable_token_indices": {"lm_head": NEW}},
    ),
    "grown-head-lora": (
        "more tokens than the base has, LoRA on the head and rows of the embedding: the file lacks the embedding",
        UNTIED,
        {"target_modules": ["q_proj", "lm_head"], "trainable_token_indices": NEW},
    ),
    "grown-tied-head-lora": (
        "more tokens than the base has, LoRA on a tied head and rows of both: LoRA alone tells how many",
        BASE,
        {"target_modules": ["q_proj", "lm_head"], "trainable_token_indices": NEW},
    ),
    "grown-besides": (
        "more tokens than the base has, of which nothing is trained",
        BASE,
        {},
    ),
}

# name: (what it shows, case whose adapter settings it shares, noise on the fresh adapter, batches).
# The noise is small because a strong adapter on a random model is chaotic: float32 and float64 part
# by more than 1e-3 within 20 steps, whoever computes them.
TRAJECTORIES = {
    "trajectory-one-batch": ("20 AdamW steps on one batch", "q-v", 0.02, [{}]),
    "trajectory-two-batches": (
        "20 AdamW steps, two batches in turn, one of them padded on the right",
        "all-linear",
        0.02,
        [{}, {"padding": "right"}],
    ),
    "trajectory-biases": ("20 AdamW steps with biases in training", "bias-all", 0.02, [{}]),
    "trajectory-fresh": (
        "20 AdamW steps from a fresh adapter: B is zero, so A has no gradient at the first step",
        "rslora",
        0.0,
        [{}, {"length": 16}],
    ),
    "trajectory-dora": ("20 AdamW steps of DoRA, lengths too", "dora", 0.02, [{}]),
    "trajectory-tokens": (
        "20 AdamW steps of rows that embedding and head share",
        "tokens-tied",
        0.02,
        [{"vocabulary": 20}],
    ),
}


def _fresh(base, seed, **settings):
    return fresh(base, seed, LoraConfig(task_type="CAUSAL_LM", lora_dropout=0.0, **settings))


def _grown(base):
    """The model with rows for more tokens, the mean of those that it has."""
    model = load_model(base)
    old = model.config.vocab_size
    model.resize_token_embeddings(GROWN_ROWS, mean_resizing=False)
    with torch.no_grad():
        for layer in (model.get_input_embeddings(), model.get_output_embeddings()):
            layer.weight[old:] = layer.weight[:old].double().mean(0).float()
    return model


def _write_grown(directory, seed, shows, base, settings):
    directory.mkdir()
    torch.manual_seed(seed)
    config = LoraConfig(task_type="CAUSAL_LM", lora_dropout=0.0, **{"r": 4, "target_modules": ["q_proj"], **settings})
    model = get_peft_model(_grown(directory / base), config).eval()
    model.peft_config["default"].base_model_name_or_path = "tiny-llama"
    perturb(model, seed + 1)
    # As PEFT does by itself where it finds that the base's config has fewer tokens.
    save(model, directory / "adapter", save_embedding_layers=True)
    model = PeftModel.from_pretrained(_grown(directory / base), directory / "adapter", is_trainable=True).eval()
    batch = make_batch(seed + 2, vocabulary=20)
    for row, ids in enumerate(((97, 98, 99), (98, 96, 97))):
        batch["inputIds"][row, 5:8] = batch["labels"][row, 5:8] = torch.tensor(ids)
    results = evaluate(model, batch)
    results["gradients"] = by_file_key(model, results["gradients"])
    write_case(directory, shows, results, [batch], model=base, adapter="adapter")


def _write_converted(root, variant, index, base):
    """An adapter that changed its base weights: stored as it is, and converted to an ordinary one."""
    model = _fresh(root / "q-v" / base, 900 + index, r=4, lora_alpha=6, target_modules=["q_proj", "v_proj"],
                   init_lora_weights=variant)
    batch = make_batch(910 + index)
    with tempfile.TemporaryDirectory() as scratch:
        save(model, Path(scratch) / "initial")
        perturb(model, 920 + index)
        _, trained = step(model, batch)
        raw, converted = root / f"{variant}-as-trained", root / f"{variant}-converted"
        save(model, raw / "adapter")
        save(model, converted / "adapter", path_initial_model_for_weight_conversion=str(Path(scratch) / "initial"))
    for directory, shows in [
        (raw, f"{variant} as trained: loading must first take the initial product out of the base"),
        (converted, f"{variant} converted on saving: an ordinary LoRA of twice the rank"),
    ]:
        _, logits = step(load(directory / base, directory / "adapter"), batch)
        assert torch.allclose(logits, trained, atol=1e-4), f"{directory.name}: not the model that was trained"
        store(directory, shows, base, "adapter", batch)


def write_lora_cases(root):
    """Writes every case below `root`; base models are those of the llama cases beside it."""
    bases = {}
    for index, (name, (shows, base_name, settings, batch_settings)) in enumerate(CASES.items()):
        base = bases[name] = f"../../llama/{base_name}/model"
        directory = root / name
        directory.mkdir(parents=True)
        model = _fresh(directory / base, 600 + index, **settings)
        perturb(model, 700 + index)
        save(model, directory / "adapter")
        store(directory, shows, base, "adapter", make_batch(800 + index, **batch_settings))

    for index, variant in enumerate(["pissa", "olora"]):
        _write_converted(root, variant, index, bases["q-v"])

    for index, (name, (shows, settings_of, noise, batch_settings)) in enumerate(TRAJECTORIES.items()):
        directory = root / name
        directory.mkdir()
        base = bases[settings_of]
        model = _fresh(directory / base, 950 + index, **CASES[settings_of][2])
        perturb(model, 955 + index, noise, noise)
        save(model, directory / "adapter")
        batches = [make_batch(960 + 10 * index + row, **item) for row, item in enumerate(batch_settings)]
        write_trajectory(directory, shows, base, "adapter", batches)

    for index, (name, (shows, base_name, settings)) in enumerate(GROWN.items()):
        _write_grown(root / name, 1100 + 10 * index, shows, f"../../llama/{base_name}/model", settings)

    write_init_case(root / "init", bases["q-v"], _fresh)
