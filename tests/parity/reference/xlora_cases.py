"""Cases of PEFT's X-LoRA: LoRAs that PEFT made, a classifier moved away from where it starts, and what
PEFT computes with them.

PEFT 0.21.2 names the LoRAs 0, 1, …, and its `save_pretrained` takes layers of such numbers for parts of that
LoRA: the classifier's first layer and most of the LoRAs are missing from what it writes. So the classifier is
written here, with the keys of its parameters, beside the LoRAs as they were trained.
"""

import json
import re

import torch
from peft import LoraConfig, XLoraConfig, get_peft_model
from safetensors.torch import load_file, save_file

from .adapters import OPTIMIZER, fresh, perturb, save
from .evaluate import evaluate, train, trajectory_difference
from .store import write_case
from .tiny_model import load_model, make_batch

STEPS = 10
FEED_FORWARD = [
    LoraConfig(r=2, lora_alpha=4, target_modules=["up_proj", "down_proj"]),
    LoraConfig(r=1, lora_alpha=3, target_modules=["gate_proj", "down_proj"], layers_to_transform=[1]),
]

# name: (what it shows, base model, LoRAs, X-LoRA's settings, batch settings)
CASES = {
    "softmax": ("PEFT's defaults on two LoRAs, a row padded on the right", "base", FEED_FORWARD, {}, {"padding": "right"}),
    "layerwise": (
        "the best 2 of 3 LoRAs for each layer, a classifier of two layers, a first pass with LoRAs",
        "biases",
        [
            LoraConfig(r=2, target_modules=["q_proj", "down_proj"]),
            LoraConfig(r=1, target_modules=["v_proj", "up_proj"], use_rslora=True, alpha_pattern={"v_proj": 3}),
            LoraConfig(r=2, target_modules=["o_proj", "down_proj"], rank_pattern={"o_proj": 1}),
        ],
        {"layerwise_scalings": True, "xlora_depth": 2, "xlora_size": 6, "xlora_dropout_p": 0.0, "enable_softmax": False,
         "enable_softmax_topk": True, "top_k_lora": 2, "scaling_pass_value": 0.5, "global_scaling_weight": 1.5},
        {},
    ),
    "trained": (
        "the LoRAs are trained too, a classifier of three layers, a sharper softmax",
        "base",
        FEED_FORWARD,
        {"use_trainable_adapters": True, "xlora_depth": 3, "xlora_size": 5, "xlora_dropout_p": 0.0, "softmax_temperature": 0.5, "top_k_lora": 1,
         "scaling_pass_value": 0.25},
        {},
    ),
}


def _store_adapter(directory, base, configs, settings, seed):
    """The LoRAs as PEFT saves them, and the classifier with the keys that PEFT gives and reads."""
    for number, config in enumerate(configs):
        lora = fresh(base, seed + number, config)
        perturb(lora, seed + 10 + number)
        save(lora, directory / f"expert-{number}")
    model = _mixture(base, directory, XLoraConfig(hidden_size=32, **settings), len(configs))
    generator = torch.Generator().manual_seed(seed + 30)
    classifier = {name: 0.2 * torch.randn(value.shape, generator=generator)
                  for name, value in model.state_dict().items() if "internal_xlora_classifier" in name}
    save_file(classifier, directory / "adapter_model.safetensors", metadata={"format": "pt"})
    model.peft_config["default"].base_model_name_or_path = "tiny-llama"
    stored = {**model.peft_config["default"].to_dict(), "inference_mode": True}
    # Where the LoRAs lie depends on where the cases are made.
    stored["adapters"] = {str(number): f"expert-{number}" for number in range(len(configs))}
    stored["peft_type"] = stored["peft_type"].value
    (directory / "adapter_config.json").write_text(json.dumps(stored, indent=2, sort_keys=True))


def _mixture(base, directory, config, count):
    torch.manual_seed(0)
    config.adapters = {str(number): str(directory / f"expert-{number}") for number in range(count)}
    return get_peft_model(load_model(base), config)


def _load(base, directory, count):
    model = _mixture(base, directory, XLoraConfig.from_pretrained(directory), count)
    loaded = model.load_state_dict(load_file(directory / "adapter_model.safetensors"), strict=False)
    assert not loaded.unexpected_keys
    # What PEFT keeps of the last pass cannot be copied with the model.
    model.register_forward_hook(lambda whole, *_: setattr(whole.base_model, "internal_xlora_scalings", None))
    return model.eval()


def _key(name):
    """Classifier: as PEFT has it; an expert's tensor: its number, then the key of its own file."""
    found = re.search(r"(model\.layers\..*\.lora_[AB])\.(\d+)\.weight$", name)
    return f"{found[2]}.base_model.model.{found[1]}.weight" if found else name


def _write(root, name, index):
    shows, base_name, configs, settings, batch_settings = CASES[name]
    base = f"../../llama/{base_name}/model"
    directory = root / name
    directory.mkdir(parents=True)
    _store_adapter(directory / "adapter", directory / base, configs, settings, 3000 + 100 * index)
    model = _load(directory / base, directory / "adapter", len(configs))
    batch = make_batch(3050 + 100 * index, **batch_settings)
    results = evaluate(model, batch)
    results["gradients"] = {_key(key): value for key, value in results["gradients"].items()}
    write_case(directory, shows, results, [batch], model=base, adapter="adapter")

    if settings.get("layerwise_scalings"):
        return  # Choices layer by layer flip by rounding: float32 leaves PEFT's own trajectory by half a percent.
    trained = root / f"{name}-trajectory"
    losses, norms, final = train(model, [batch], STEPS, OPTIMIZER)
    write_case(
        trained,
        f"{STEPS} AdamW steps: {shows}",
        None,
        [batch],
        {f"final/{_key(key)}": value for key, value in final.items()},
        model=base,
        adapter=f"../{name}/adapter",
        optimizer=OPTIMIZER,
        losses=losses,
        gradientNorms=norms,
        float32Difference=trajectory_difference(model, [batch], OPTIMIZER, losses, norms, final),
    )


def write_xlora_cases(root):
    """Writes every case below `root`; base models are those of the llama cases beside it."""
    for index, name in enumerate(CASES):
        _write(root, name, index)
