"""Classifiers and reward models: checkpoints as Transformers' `*ForSequenceClassification` writes them, and
PEFT's adapters for the task SEQ_CLS on models that continue texts, whose head the adapter holds.
"""

import torch
from peft import LoraConfig, PeftModel, get_peft_model
from transformers import AutoConfig, AutoModelForCausalLM, AutoModelForSequenceClassification

from .adapters import OPTIMIZER, by_file_key, perturb, save
from .evaluate import evaluate, train, trajectory_difference
from .store import write_case
from .tiny_model import BASE, make_batch

NAMES = {"id2label": {0: "good", 1: "bad", 2: "none"}, "label2id": {"good": 0, "bad": 1, "none": 2}}
REWARD = {"num_labels": 1, "problem_type": "regression"}

LABELS = torch.tensor([[2], [0], [1]])
VALUES = torch.tensor([[0.7], [-1.5], [0.2]])
SEVERAL = torch.tensor([[1.0, 0.0, 1.0], [0.0, 0.0, 0.0], [0.0, 1.0, 1.0]])

# name: (what it shows, model type, settings, what is right of each row)
CHECKPOINTS = {
    "llama-labels": ("every weight, one of three labels, rows of three lengths", "llama", NAMES, LABELS),
    "qwen2-labels": ("every weight, an untied head, one of three labels", "qwen2", {**NAMES, "tie_word_embeddings": False}, LABELS),
    "llama-reward": ("every weight, a single value", "llama", REWARD, VALUES),
    "qwen2-several": ("every weight, any of three labels", "qwen2", {**NAMES, "problem_type": "multi_label_classification"}, SEVERAL),
}

LORA = {"r": 4, "lora_alpha": 8, "target_modules": ["q_proj", "v_proj", "down_proj"]}

# name: (what it shows, model type, settings of the base, number of labels, LoRA's settings, what is right)
ADAPTERS = {
    "llama-lora": ("LoRA and a new head on a tied model, one of three labels", "llama", {}, 3, LORA, LABELS),
    "qwen2-lora": (
        "LoRA on all linear modules and a new head on an untied model, one of three labels",
        "qwen2",
        {"tie_word_embeddings": False},
        3,
        {"r": 2, "lora_alpha": 4, "target_modules": "all-linear", "use_rslora": True},
        LABELS,
    ),
    "llama-lora-reward": ("LoRA and a new head for a single value", "llama", {}, 1, LORA, VALUES),
}

STEPS = 12


def _fill(model, seed):
    """Weights as large as those of `tiny_model.make_model`."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            noise = torch.randn(parameter.shape, generator=generator)
            if "norm" in name:
                parameter.copy_(1 + 0.2 * noise)
            elif name.endswith("bias"):
                parameter.copy_(0.3 * noise)
            elif any(part in name for part in ("embed_tokens", "lm_head", "score")):
                parameter.copy_(0.5 * noise)
            else:
                parameter.copy_(noise * 1.5 / parameter.shape[1] ** 0.5)


def _write_model(directory, auto, model_type, settings, seed):
    model = auto.from_config(AutoConfig.for_model(model_type, **{**BASE, **settings}))
    _fill(model, seed)
    model.save_pretrained(directory)
    (directory / "generation_config.json").unlink(missing_ok=True)


def _load(directory, **settings):
    model = AutoModelForSequenceClassification.from_pretrained(directory, dtype=torch.float32, **settings)
    model.config.use_cache = False
    return model.eval()


def _batch(seed, right):
    """Three rows of 12, 9 and 5 tokens, padded on the right; the second ends in the padding token itself."""
    batch = make_batch(seed, rows=3)
    del batch["labels"]
    mask = torch.ones_like(batch["inputIds"])
    for row, length in ((1, 9), (2, 5)):
        mask[row, length:] = 0
        batch["inputIds"][row, length:] = 0
    batch["inputIds"][1, 8] = 0
    return {**batch, "attentionMask": mask, "rowLabels": right}


def _write_adapter(directory, base, labels, settings, seed):
    torch.manual_seed(seed)
    model = get_peft_model(_load(base, num_labels=labels), LoraConfig(task_type="SEQ_CLS", lora_dropout=0.0, **settings))
    model.peft_config["default"].base_model_name_or_path = "tiny-model"
    perturb(model, seed + 1)
    save(model, directory)


def write_classification_cases(root):
    for index, (name, (shows, model_type, settings, right)) in enumerate(CHECKPOINTS.items()):
        directory = root / name
        directory.mkdir(parents=True)
        _write_model(directory / "model", AutoModelForSequenceClassification, model_type, settings, 1500 + index)
        results = evaluate(_load(directory / "model"), _batch(1520 + index, right))
        write_case(directory, shows, results, [_batch(1520 + index, right)], model="model")
    for index, (name, (shows, model_type, changes, labels, settings, right)) in enumerate(ADAPTERS.items()):
        directory = root / name
        directory.mkdir(parents=True)
        _write_model(directory / "model", AutoModelForCausalLM, model_type, changes, 1540 + index)
        _write_adapter(directory / "adapter", directory / "model", labels, settings, 1550 + 2 * index)
        model = _adapted(directory, labels)
        results = evaluate(model, _batch(1560 + index, right))
        results["gradients"] = by_file_key(model, results["gradients"])
        write_case(directory, shows, results, [_batch(1560 + index, right)], model="model", adapter="adapter")
    _write_trajectory(root)


def _adapted(directory, labels):
    return PeftModel.from_pretrained(
        _load(directory / "model", num_labels=labels), directory / "adapter", is_trainable=True
    ).eval()


def _write_trajectory(root):
    source = root / "qwen2-lora"
    directory = root / "trajectory"
    batches = [_batch(1570, LABELS), _batch(1571, LABELS.flip(0))]
    model = _adapted(source, 3)
    losses, norms, final = train(model, batches, STEPS, OPTIMIZER)
    write_case(
        directory,
        f"{STEPS} AdamW steps of LoRA and head, two batches in turn",
        None,
        batches,
        {f"final/{key}": value for key, value in by_file_key(model, final).items()},
        model="../qwen2-lora/model",
        adapter="../qwen2-lora/adapter",
        optimizer=OPTIMIZER,
        losses=losses,
        gradientNorms=norms,
        float32Difference=trajectory_difference(model, batches, OPTIMIZER, losses, norms, final),
    )
