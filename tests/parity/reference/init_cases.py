"""What PEFT's initialisations that need no data promise: statistics, or a product that W determines."""

import torch
from safetensors.torch import save_file

from .store import write_json
from .tiny_model import load_model

SETTINGS = {"r": 4, "lora_alpha": 6, "target_modules": ["q_proj", "v_proj", "down_proj"]}

# Random variants: bounds of A and B (largest possible magnitude, null where there is none) and their
# standard deviations as functions of the shapes.
RANDOM = {
    "true": {"A": "uniform in +-1/sqrt(in)", "B": "zero"},
    "gaussian": {"A": "normal, standard deviation 1/rank", "B": "zero"},
    "false": {"A": "uniform in +-1/sqrt(in)", "B": "uniform in +-1/sqrt(rank)"},
    "orthogonal": {
        "A": "standard deviation sqrt(1/2)/10, rank/2 independent rows",
        "B": "standard deviation sqrt(1/2)/10",
        "product": "zero",
    },
}

# Variants that the weight determines up to a sign of each rank-one part, which cancels in the product.
DETERMINED = {
    "pissa": "s*B*A is the best rank-r part of W; the base keeps the rest; A and B carry it in equal shares",
    "olora": "B*A is Q[:, :r] R[:r] of W = QR; the base loses s*B*A",
    "mica": "A is zero, B the left singular vectors of the smallest singular values: stored is B*B^T; B is frozen",
}
APPROXIMATE = {"pissa_niter_16": "as pissa, by randomised subspace iteration: what is left of W is within 2 % of the best"}


def _parse(variant):
    return {"true": True, "false": False}.get(variant, variant)


def _layers(model):
    for name, module in model.named_modules():
        if hasattr(module, "lora_A") and hasattr(module, "base_layer"):
            yield name.removeprefix("base_model.model."), module


def _measure(tensors):
    values = torch.cat([tensor.flatten() for tensor in tensors])
    return {"largest": round(values.abs().max().item(), 5), "standardDeviation": round(values.std().item(), 5)}


def write_init_case(directory, base, fresh):
    """Writes the case; `fresh(base, seed, **settings)` makes an untrained PEFT model."""
    directory.mkdir()
    original = load_model(directory / base).state_dict()
    products, variants = {}, {}

    for variant, promise in RANDOM.items():
        model = fresh(directory / base, 42, **SETTINGS, init_lora_weights=_parse(variant))
        layers = [module for _, module in _layers(model)]
        a = [module.lora_A["default"].weight.detach() for module in layers]
        b = [module.lora_B["default"].weight.detach() for module in layers]
        largest = max((right @ left).abs().max().item() for left, right in zip(a, b))
        assert (largest < 1e-6) == (promise["B"] == "zero" or "product" in promise), variant
        variants[variant] = {"promise": promise, "measured": {"A": _measure(a), "B": _measure(b)}}

    for variant, promise in {**DETERMINED, **APPROXIMATE}.items():
        model = fresh(directory / base, 42, **SETTINGS, init_lora_weights=variant)
        for name, module in _layers(model):
            a = module.lora_A["default"].weight.detach().double()
            b = module.lora_B["default"].weight.detach().double()
            product = b @ b.T if variant == "mica" else module.scaling["default"] * (b @ a)
            kept = module.base_layer.weight.detach().double()
            weight = original[f"{name}.weight"].double()
            delta = 0 if variant == "mica" else product
            assert torch.allclose(kept + delta, weight, atol=1e-5), f"{variant}: {name} changed"
            if variant in DETERMINED:
                products[f"{variant}/{name}"] = product.float().contiguous()
            else:
                best = (weight - products[f"pissa/{name}"].double()).norm()
                assert (weight - product).norm() < 1.02 * best, f"{variant}: {name} is far from pissa"
        variants[variant] = {"promise": promise}

    save_file(products, directory / "expected.safetensors")
    case = {
        "shows": "initialisations that need no data",
        "model": base,
        "settings": {"rank": SETTINGS["r"], "alpha": SETTINGS["lora_alpha"], "targets": SETTINGS["target_modules"]},
        "variants": variants,
    }
    write_json(directory / "case.json", case)
