"""What PEFT makes of LoRA adapters: every deterministic way of `add_weighted_adapter`, and `convert_to_lora`.

Stored are the products s * B A of the result, which a singular value decomposition determines, and
the two adapters themselves. Their ranks and targets differ in the second pair.
"""

import torch
from peft import LoraConfig, PeftModel, convert_to_lora, get_peft_model
from safetensors.torch import save_file

from .store import write_json
from .tiny_model import make_model

MODEL = {"vocab_size": 32, "num_hidden_layers": 1, "hidden_size": 16, "intermediate_size": 20}

# name: adapters' settings
PAIRS = {
    "alike": [
        {"r": 4, "lora_alpha": 8, "target_modules": ["q_proj", "v_proj"]},
        {"r": 4, "lora_alpha": 4, "target_modules": ["q_proj", "v_proj"]},
    ],
    "different": [
        {"r": 4, "lora_alpha": 8, "target_modules": ["q_proj", "down_proj"]},
        {"r": 2, "lora_alpha": 3, "target_modules": ["q_proj"]},
    ],
}

# (pair, arguments of add_weighted_adapter)
MERGES = [
    ("alike", {"combination_type": "linear", "weights": [0.7, 0.5]}),
    ("alike", {"combination_type": "linear", "weights": [1.0, -0.4]}),
    ("alike", {"combination_type": "cat", "weights": [0.7, -0.5]}),
    ("alike", {"combination_type": "svd", "weights": [0.7, 0.5], "svd_rank": 3}),
    ("alike", {"combination_type": "ties", "weights": [0.7, 0.5], "density": 0.6}),
    ("alike", {"combination_type": "ties", "weights": [1.0, 1.0], "density": 0.5, "majority_sign_method": "frequency"}),
    ("alike", {"combination_type": "ties_svd", "weights": [0.7, 0.5], "density": 0.6, "svd_rank": 5}),
    ("alike", {"combination_type": "magnitude_prune", "weights": [0.7, 0.5], "density": 0.3}),
    ("alike", {"combination_type": "magnitude_prune_svd", "weights": [0.7, 0.5], "density": 0.3}),
    ("alike", {"combination_type": "dare_linear", "weights": [0.7, 0.5], "density": 1.0}),
    ("alike", {"combination_type": "dare_ties", "weights": [0.7, 0.5], "density": 1.0}),
    ("alike", {"combination_type": "dare_ties_svd", "weights": [0.7, 0.5], "density": 1.0, "svd_rank": 2}),
    ("different", {"combination_type": "cat", "weights": [0.7, 0.5]}),
    ("different", {"combination_type": "svd", "weights": [0.7, 0.5]}),
]

# Fixed ranks, and shares of the squared singular values to keep.
CONVERSIONS = [2, 0.5, 0.9, 1.0]


def _adapters(settings, seed, directory):
    model = make_model(seed, **MODEL)
    generator = torch.Generator().manual_seed(seed)
    for index, config in enumerate(settings):
        peft = get_peft_model(make_model(seed, **MODEL), LoraConfig(task_type="CAUSAL_LM", **config))
        with torch.no_grad():
            for name, parameter in peft.named_parameters():
                if "lora_" in name:
                    parameter.copy_(torch.randn(parameter.shape, generator=generator) * 0.3)
        peft.save_pretrained(directory / f"adapter-{index}")
        (directory / f"adapter-{index}" / "README.md").unlink()
    merged = PeftModel.from_pretrained(model, directory / "adapter-0", adapter_name="a0")
    merged.load_adapter(directory / "adapter-1", adapter_name="a1")
    return merged


def write_merge_cases(root):
    """Writes one folder a pair: the adapters, `merges.json`, and the products as `expected.safetensors`."""
    for number, (pair, settings) in enumerate(PAIRS.items()):
        directory = root / pair
        directory.mkdir(parents=True)
        model = _adapters(settings, 700 + number, directory)
        products, merges = {}, []
        for index, (_, arguments) in enumerate(one for one in MERGES if one[0] == pair):
            name = f"m{index}"
            model.add_weighted_adapter(["a0", "a1"], adapter_name=name, **arguments)
            merges.append(arguments)
            for path, module in model.named_modules():
                if name in getattr(module, "lora_A", {}):
                    path = path.removeprefix("base_model.model.")
                    products[f"{index}/{path}"] = module.get_delta_weight(name).detach().contiguous()
            model.delete_adapter(name)
        conversions = []
        for rank in CONVERSIONS:
            _, converted = convert_to_lora(model, rank, adapter_name="a0")
            ranks = {}
            for key, a in converted.items():
                if key.endswith("lora_A.weight"):
                    path = key.removeprefix("base_model.model.").removesuffix(".lora_A.weight")
                    ranks[path] = a.shape[0]
                    products[f"converted-{rank}/{path}"] = converted[key.replace("lora_A", "lora_B")] @ a
            conversions.append({"rank": rank, "ranks": ranks})
        save_file(products, directory / "expected.safetensors")
        write_json(directory / "merges.json", {"merges": merges, "conversions": conversions})
