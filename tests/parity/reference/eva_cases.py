"""EVA's initialisation: what PEFT makes of a few batches, as an adapter that is not trained yet.

PEFT whitens shared directions in place, once for each layer that shares them: the whitened case shares none.

A case's `method` says the same in tunesmith's options; `batches` are gone through until directions settle.
"""

import torch
from peft import LoraConfig, initialize_lora_eva_weights
from peft.tuners.lora.config import EvaConfig

from .adapters import fresh, save
from .store import batch_as_lists, write_json
from .tiny_model import make_batch

BASE = "../../llama/base/model"
UNTIED = "../../llama/untied-head/model"
ALL = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]

# name: (what it shows, base, LoRA settings, EVA settings, batch settings)
CASES = {
    "all-linear": (
        "ranks by explained variance over all linear layers; padding and prompts are left out",
        BASE,
        {"r": 4, "lora_alpha": 6, "target_modules": ALL},
        {},
        {"rows": 4, "length": 24, "padding": "right"},
    ),
    "without-some": (
        "layers that get no rank are no targets",
        BASE,
        {"r": 1, "lora_alpha": 3, "target_modules": ALL, "rank_pattern": {"down_proj": 2}},
        {"rho": 6.0},
        {"rows": 4, "length": 24},
    ),
    "whitened": (
        "whitened directions of all positions, alpha left as it is, fewer rows in a batch than numbers in a row",
        UNTIED,
        {"r": 5, "lora_alpha": 5, "target_modules": ["v_proj", "down_proj"], "alpha_pattern": {"v_proj": 7}},
        {"rho": 1.5, "tau": 0.9, "use_label_mask": False, "whiten": True, "adjust_scaling_factors": False},
        {"rows": 2, "length": 12, "padding": "right"},
    ),
    "as-they-are": (
        "rho 1 leaves every rank as it is",
        BASE,
        {"r": 3, "target_modules": ["k_proj", "o_proj"]},
        {"rho": 1.0},
        {"rows": 3, "length": 16},
    ),
}

OWN_NAMES = {
    "r": "rank",
    "lora_alpha": "alpha",
    "target_modules": "targets",
    "rank_pattern": "rankPattern",
    "alpha_pattern": "alphaPattern",
    "rho": "evaRho",
    "tau": "evaTau",
    "use_label_mask": "evaUseLabelMask",
    "whiten": "evaWhiten",
    "adjust_scaling_factors": "evaAdjustScalingFactors",
}


def _own(settings):
    return {OWN_NAMES.get(key, key): value for key, value in settings.items()}


def _for_model(batch):
    mask = batch.get("attentionMask", torch.ones_like(batch["inputIds"]))
    return {"input_ids": batch["inputIds"], "labels": batch["labels"], "attention_mask": mask}


def write_eva_cases(root):
    """Writes every case below `root`; base models are those of the llama cases beside it."""
    for index, (name, (shows, base, settings, eva, batch_settings)) in enumerate(CASES.items()):
        directory = root / name
        directory.mkdir(parents=True)
        config = LoraConfig(
            task_type="CAUSAL_LM",
            lora_dropout=0.0,
            init_lora_weights="eva",
            eva_config=EvaConfig(**eva),
            **settings,
        )
        model = fresh(directory / base, 1500 + index, config)
        batches = [make_batch(1510 + 10 * index + row, **batch_settings) for row in range(4)]
        seen = []

        def forward(model, inputs):
            seen.append(1)
            return model(**inputs)

        data = [_for_model(batch) for batch in batches]
        initialize_lora_eva_weights(model, data, forward_fn=forward, show_progress_bar=False)
        save(model, directory / "adapter")
        case = {
            "shows": shows,
            "model": base,
            "adapter": "adapter",
            "method": {"name": "lora", **_own(settings), "init": "eva", **_own(eva)},
            "lookedAt": len(seen) - 1,  # the first pass compares inputs alone
            "batches": [batch_as_lists(batch) for batch in batches],
        }
        write_json(directory / "case.json", case)
